/** The package as `npm run build` makes it: once for all test files of a run, since that is a minute's work of a processor. */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { build } from '../../scripts/package/build';
import { until } from './stack';

/** The folder that it is in. Whoever asks first makes it, and others wait; nobody changes it. */
export async function builtPackage(): Promise<string> {
  // A folder of this run, as the bundle's is.
  const folder = path.dirname(process.env.SPENDLOCK_TEST_BUNDLE ?? '');
  const built = path.join(folder, 'package');
  try {
    mkdirSync(path.join(folder, 'package-is-made'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    await until('the package is built', () => existsSync(built), 240_000);
    return built;
  }
  const making = path.join(folder, 'package-in-the-making');
  build(making);
  renameSync(making, built);
  return built;
}
