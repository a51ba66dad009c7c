/** Projects of somebody else's: empty folders, outside this repository, that install the packed package. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { pack } from '../../scripts/package/build';
import { builtPackage } from './built-package';

const root = path.join(__dirname, '..', '..');
const modules = path.join(root, 'node_modules');

/** The package as it would be published. */
export class PackedPackage {
  private readonly projects: string[] = [];
  private readonly strict = new Map<string, Promise<Project>>();

  private constructor(
    private readonly folder: string,
    private readonly built: string,
    readonly tarball: string,
  ) {}

  static async make(): Promise<PackedPackage> {
    const folder = mkdtempSync(path.join(realpathSync(tmpdir()), 'spendlock-package-'));
    const built = await builtPackage();
    return new PackedPackage(folder, built, pack(built, folder));
  }

  get peers(): string[] {
    const manifest = readFileSync(path.join(this.built, 'package.json'), 'utf8');
    return Object.keys((JSON.parse(manifest) as { peerDependencies: object }).peerDependencies);
  }

  /** A project that npm installed the package into, with nothing beside it. */
  async npmProject(): Promise<Project> {
    const project = this.emptyProject({});
    await project.run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', this.tarball]);
    return project;
  }

  /**
   * One by a pnpm that gives each package what it names and nothing else. Packages beside it are those of this repository; they are
   * linked. Who asks for the same packages gets the same project.
   */
  strictProject(beside: string[]): Promise<Project> {
    const key = [...beside].sort().join();
    const project = this.strict.get(key) ?? this.makeStrictProject(beside);
    this.strict.set(key, project);
    return project;
  }

  private async makeStrictProject(beside: string[]): Promise<Project> {
    const linked = beside.map((name) => [name, `link:${path.join(modules, name)}`] as const);
    const project = this.emptyProject({ spendlock: `file:${this.tarball}`, ...Object.fromEntries(linked) });
    project.write('pnpm-workspace.yaml', 'hoist: false\nstrictPeerDependencies: true\n');
    const pnpm = path.join(modules, 'pnpm', 'bin', 'pnpm.cjs');
    await project.run(process.execPath, [pnpm, 'install', '--prefer-offline', '--ignore-scripts']);
    return project;
  }

  remove(): void {
    for (const folder of [this.folder, ...this.projects]) rmSync(folder, { recursive: true, force: true });
  }

  private emptyProject(dependencies: Record<string, string>): Project {
    const folder = mkdtempSync(path.join(realpathSync(tmpdir()), 'spendlock-project-'));
    this.projects.push(folder);
    const project = new Project(folder);
    project.write('package.json', JSON.stringify({ name: 'of-somebody-else', private: true, dependencies }));
    return project;
  }
}

/** What came of a command that ended. */
interface Ended {
  status: number;
  stdout: string;
  stderr: string;
}

export class Project {
  constructor(readonly folder: string) {}

  write(file: string, content: string): void {
    writeFileSync(path.join(this.folder, file), content);
  }

  /** @throws Error with what was printed, when it fails. */
  async run(command: string, args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.end(command, args);
    if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
    return stdout;
  }

  /** Runs a command to its end, with an environment of its own: what the tests are configured by is not in it. */
  async end(command: string, args: string[], environment: Record<string, string> = {}): Promise<Ended> {
    const { PATH = '', HOME = '' } = process.env;
    const options = { cwd: this.folder, env: { PATH, HOME, ...environment }, timeout: 120_000 };
    try {
      return { status: 0, ...(await promisify(execFile)(command, args, options)) };
    } catch (error) {
      const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string };
      if (typeof code !== 'number') throw error;
      return { status: code, stdout, stderr };
    }
  }

  /** Type-checks the files as a project does that resolves modules so; compiles them when `outDir` names a folder. */
  async compile(
    files: string[],
    { resolution, outDir }: { resolution: 'node16' | 'bundler'; outDir?: string },
  ): Promise<void> {
    const compilerOptions = {
      target: 'ES2022',
      lib: ['ES2023', 'DOM', 'DOM.AsyncIterable'],
      module: resolution === 'bundler' ? 'preserve' : 'node16',
      moduleResolution: resolution,
      strict: true,
      skipLibCheck: existsSync(path.join(this.folder, 'node_modules', 'pg')),
      types: ['node'],
      typeRoots: [path.join(modules, '@types')],
      ...(outDir === undefined ? { noEmit: true } : { outDir }),
    };
    this.write('tsconfig.json', JSON.stringify({ compilerOptions, files }));
    await this.run(process.execPath, [path.join(modules, 'typescript', 'bin', 'tsc'), '-p', '.']);
  }
}
