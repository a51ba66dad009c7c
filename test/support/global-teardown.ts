/** Ends the servers that a test run shared. */
export default async function globalTeardown(): Promise<void> {
  await globalThis.spendlockTestServices?.stop();
}
