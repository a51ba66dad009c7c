/** Counts a run for the line that `scripts/test.ts` prints last: `N passed, N failed` (and `, N skipped`). */
const { writeFileSync } = require('node:fs');

module.exports = class ClosingLineReporter {
  onRunComplete(_contexts, results) {
    const {
      numPassedTests: passed,
      numFailedTests,
      numRuntimeErrorTestSuites,
      numPendingTests,
      numTodoTests,
    } = results;
    // A file that could not be run is a failure, although no test of it was counted.
    const failed = numFailedTests + numRuntimeErrorTestSuites;
    const skipped = numPendingTests + numTodoTests;
    const line = `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
    if (process.env.SPENDLOCK_TEST_CLOSING_LINE) writeFileSync(process.env.SPENDLOCK_TEST_CLOSING_LINE, line);
  }
};
