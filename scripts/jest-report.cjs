/** Leaves what `scripts/test.mjs` says at the end in the file that TEST_REPORT names. */
const { writeFileSync } = require('node:fs');
const { relative } = require('node:path');

module.exports = class Report {
  onRunComplete(_contexts, results) {
    const file = process.env.TEST_REPORT;
    if (!file) return;
    const tests = results.testResults.flatMap(({ testFilePath, testResults }) =>
      testResults.map(({ fullName, duration }) => ({
        name: `${relative('build/test', testFilePath).replace(/\.js$/, '')}: ${fullName}`,
        ms: duration ?? 0,
      })),
    );
    const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites } = results;
    // A file that fails as a whole, by what it left behind, may have no test that failed.
    const broken = results.testResults.filter(
      ({ testExecError, numFailingTests }) => testExecError && numFailingTests === 0,
    ).length;
    const failed = numFailedTests + Math.max(numRuntimeErrorTestSuites, broken);
    const slowest = tests.sort((a, b) => b.ms - a.ms).slice(0, 10);
    writeFileSync(file, JSON.stringify({ passed: numPassedTests, failed, slowest }));
  }
};
