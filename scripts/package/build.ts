/**
 * Makes the package that others install, `npm run build`: in dist/package/, and packed as dist/spendlock-VERSION.tgz.
 *
 * Its entries are bundles of our own code, each as CommonJS and as an ES module. What `spendlock/client` and `npx spendlock` need
 * comes with them; what a worker of one's own needs is named as an optional peer, so that whoever only speaks HTTP installs none of
 * it, and whoever has Temporal keeps one copy of it.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import path from 'node:path';
import { buildSync, type BuildOptions, type Metafile } from 'esbuild';
import ts from 'typescript';
import { functionFiles, standInFor } from '../../store/function-files';
import { writeOutApiTypes } from './client-types';
import { removeUnreachable } from './reachable-types';

const root = path.join(__dirname, '..', '..');
const own = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  version: string;
  description: string;
  license: string;
  engines: object;
  dependencies: Record<string, string>;
};

/** What the package is entered by, and from which file. */
const entries = {
  client: 'client/index.ts',
  workflow: 'workflows/public.ts',
  worker: 'workers/own-workers.ts',
  temporal: 'workers/plugin/index.ts',
};
/** Entries that say all that they lack. */
const loaded = ['worker', 'temporal'];
/** Loaded by its path, which Temporal asks for. */
const failureConverter = 'temporal/encryption/failure-converter.ts';
const cli = 'cli/main.ts';

/** What the command line shows its tables with. Everything else that a bundle leaves out is a peer. */
const dependencies = ['cli-table3'];
/** What the command line has within it, a quarter of its size as it is published; with its licence beside. */
const within = 'commander';

/** Where a module comes from: `@temporalio/common` of `@temporalio/common/lib/time`. */
const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

/** The packages that a bundle leaves out and loads when it runs. */
const leftOut = ({ inputs }: Metafile): string[] => {
  const found = Object.values(inputs).flatMap(({ imports }) =>
    imports
      .filter(({ external, path }) => external === true && /^[@a-z]/.test(path) && !isBuiltin(path))
      .map(({ path }) => packageOf(path)),
  );
  return [...new Set(found)].sort();
};

/** The names that a bundle exports, and what it needs beside it. */
interface Bundled {
  names: string[];
  peers: string[];
}

/**
 * Loads an entry, and says all at once what it lacks; Node names one package after the other. Whoever bundles it asks nothing of the
 * disk: what is missing is looked for only where it could not be loaded.
 */
const loader = (entry: string, file: string, peers: string[]): string => `'use strict';
const lacks = (name) => {
  try {
    require.resolve(name);
  } catch (error) {
    return error.code === 'MODULE_NOT_FOUND';
  }
};
try {
  module.exports = require('${file}');
} catch (error) {
  const missing = error.code === 'MODULE_NOT_FOUND' ? ${JSON.stringify(peers)}.filter(lacks) : [];
  if (missing.length === 0) throw error;
  const message = 'spendlock/${entry} needs packages that are not installed here. Install them beside it: npm install ' + missing.join(' ');
  throw Object.assign(new Error(message, { cause: error }), { code: error.code });
}
`;

const common: BuildOptions = {
  absWorkingDir: root,
  bundle: true,
  packages: 'external',
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  logLevel: 'error',
  // Small, and with lines that a stack trace can show.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 120,
  // Found by its path, not by being imported.
  external: ['./failure-converter'],
};

/** Of what only Node loads: a stack trace has the names of functions and classes all the same. */
const shortest: BuildOptions = { minifyIdentifiers: true, keepNames: true };

/** Declarations that people read: an editor shows what they say. */
const isRead = /^(client|workers|workflows)\//;

function withoutComments(file: string): void {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ESNext);
  writeFileSync(file, ts.createPrinter({ removeComments: true }).printFile(source));
}

/** The compiler's four spaces are most of some declarations. */
function indentByTabs(file: string): void {
  const text = readFileSync(file, 'utf8');
  writeFileSync(
    file,
    text.replace(/^(?: {4})+/gm, (spaces) => '\t'.repeat(spaces.length / 4)),
  );
}

/** @throws Error when something does not compile; the compiler's words are printed. */
export function build(folder = path.join(root, 'dist', 'package')): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(path.join(folder, 'lib'), { recursive: true });
  const lib = (file: string): string => path.join(folder, 'lib', file);
  const needed = new Set<string>();
  const bundle = (entryPoint: string, outfile: string, options: BuildOptions = {}): Bundled => {
    const files = { entryPoints: [entryPoint], outfile: lib(outfile), metafile: true as const };
    const { metafile } = buildSync({ ...common, ...options, ...files });
    const peers = leftOut(metafile);
    for (const name of peers) needed.add(name);
    return { names: Object.values(metafile.outputs).flatMap(({ exports }) => exports), peers };
  };

  for (const [name, entryPoint] of Object.entries(entries)) {
    const isLoaded = loaded.includes(name);
    const { peers } = bundle(entryPoint, isLoaded ? `${name}-code.js` : `${name}.js`, isLoaded ? shortest : {});
    if (isLoaded) writeFileSync(lib(`${name}.js`), loader(name, `./${name}-code.js`, peers));
    // The client is an ES module of its own, for browsers' bundlers. Of the others there is one copy, whoever loads it how.
    const { names } = bundle(entryPoint, `${name}.mjs`, { format: 'esm' });
    if (name !== 'client') writeFileSync(lib(`${name}.mjs`), `export { ${names.join(', ')} } from './${name}.js';\n`);
    const types = `../types/${entryPoint.replace(/\.ts$/, '.js')}`;
    for (const extension of ['ts', 'mts']) writeFileSync(lib(`${name}.d.${extension}`), `export * from '${types}';\n`);
  }
  bundle(failureConverter, 'failure-converter.js');
  const ofPackage = (file: string): string => path.join(root, 'node_modules', within, file);
  bundle(cli, 'cli.js', {
    banner: { js: '#!/usr/bin/env node' },
    minify: true,
    alias: { [within]: ofPackage('index.js') },
  });
  cpSync(ofPackage('LICENSE'), lib(`${within}.LICENSE`));
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const types = path.join(folder, 'types');
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', types], {
    cwd: root,
    stdio: 'inherit',
  });
  writeOutApiTypes(root, types);
  removeUnreachable(
    types,
    Object.values(entries).map((file) => file.replace(/\.ts$/, '.d.ts')),
  );
  for (const file of readdirSync(types, { recursive: true, encoding: 'utf8' }))
    if (file.endsWith('.d.ts')) {
      if (!isRead.test(file)) withoutComments(path.join(types, file));
      indentByTabs(path.join(types, file));
    }
  // `doctor` compares a database with them: with the functions' checksums, and with the names of the others.
  mkdirSync(path.join(folder, 'migrations', 'functions'), { recursive: true });
  for (const file of functionFiles())
    writeFileSync(path.join(folder, 'migrations', 'functions', `${file.name}.sql`), standInFor(file));
  for (const file of readdirSync(path.join(root, 'migrations')).filter((name) => name.endsWith('.sql')))
    writeFileSync(path.join(folder, 'migrations', file), '-- `npm run migrate` of the repository applies it.\n');
  cpSync(path.join(root, 'docs', 'package.md'), path.join(folder, 'README.md'));
  writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest(needed), null, 2)}\n`);
}

/** What the package says of itself. Versions are those that are tested here. */
function manifest(needed: Set<string>): object {
  const versions = (names: string[], range: string): Record<string, string> =>
    Object.fromEntries(names.sort().map((name) => [name, `${range}${own.dependencies[name]}`]));
  const peers = [...needed].filter((name) => !dependencies.includes(name));
  for (const name of peers)
    if (own.dependencies[name] === undefined) throw new Error(`${name} is imported and not in package.json.`);
  const { version, description, license, engines } = own;
  return {
    name: 'spendlock',
    version,
    description,
    license,
    engines,
    bin: { spendlock: 'lib/cli.js' },
    exports: Object.fromEntries(
      Object.keys(entries).map((name) => [
        `./${name}`,
        {
          import: { types: `./lib/${name}.d.mts`, default: `./lib/${name}.mjs` },
          require: { types: `./lib/${name}.d.ts`, default: `./lib/${name}.js` },
        },
      ]),
    ),
    // For TypeScript's older resolution, which does not read exports.
    typesVersions: { '*': Object.fromEntries(Object.keys(entries).map((name) => [name, [`./lib/${name}.d.ts`]])) },
    dependencies: versions([...dependencies], '^'),
    peerDependencies: versions([...peers], '^'),
    peerDependenciesMeta: Object.fromEntries(peers.sort().map((name) => [name, { optional: true }])),
  };
}

/** Packs what was built. Gives the tarball's path. */
export function pack(folder = path.join(root, 'dist', 'package'), destination = path.dirname(folder)): string {
  const [npm, npmArguments] =
    process.env.npm_execpath === undefined ? ['npm', []] : [process.execPath, [process.env.npm_execpath]];
  execFileSync(npm, [...npmArguments, 'pack', '--silent', '--ignore-scripts', '--pack-destination', destination], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return path.join(destination, `spendlock-${own.version}.tgz`);
}

if (require.main === module) {
  build();
  console.log(
    `${path.relative(process.cwd(), pack())} has spendlock/client, spendlock/workflow, spendlock/worker, spendlock/temporal and the command line.`,
  );
}
