import { rm } from 'node:fs/promises';

/** Ends the servers that a test run shared, and removes what was made for all of its workers. */
export default async function globalTeardown(): Promise<void> {
  await globalThis.spendlockTestServices?.stop();
  if (globalThis.spendlockTestScratch) await rm(globalThis.spendlockTestScratch, { recursive: true, force: true });
}
