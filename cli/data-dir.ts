/** Where an embedded installation keeps its data: SPENDLOCK_DATA_DIR, or a folder of this checkout. */
import path from 'node:path';

export const dataDirOf = (environment: NodeJS.ProcessEnv): string =>
  environment.SPENDLOCK_DATA_DIR || path.join(__dirname, '..', '.spendlock', 'data');
