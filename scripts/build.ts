/** Compiles what others import (`spendlock/client`, `spendlock/workflow`, `spendlock/worker`) into dist/: `npm run build`. */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';

const root = path.join(__dirname, '..');

/** @throws Error when it does not compile; the compiler's words are printed. */
export function build(outDir = path.join(root, 'dist')): void {
  rmSync(outDir, { recursive: true, force: true });
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', outDir], {
    cwd: root,
    stdio: 'inherit',
  });
}

if (require.main === module) {
  build();
  console.log('dist/ has spendlock/client, spendlock/workflow and spendlock/worker.');
}
