/** Counts a run for the line that `scripts/test.ts` prints last: `N passed, N failed` (and `, N skipped`). */
const { writeFileSync } = require('node:fs');

module.exports = class CountsReporter {
  onRunComplete(_contexts, results) {
    const counts = {
      passed: results.numPassedTests,
      // A file that could not be run is a failure, although no test of it was counted.
      failed: results.numFailedTests + results.numRuntimeErrorTestSuites,
      skipped: results.numPendingTests + results.numTodoTests,
    };
    if (process.env.SPENDLOCK_TEST_COUNTS) writeFileSync(process.env.SPENDLOCK_TEST_COUNTS, JSON.stringify(counts));
  }
};
