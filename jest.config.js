/**
 * Tests run as the JavaScript that `tsc -p tsconfig.test.json` made of them: child processes and
 * worker threads start from the same files as in production, and no transformer stands between.
 *
 * @type {import('jest').Config}
 */
export default {
  rootDir: 'build',
  testMatch: ['<rootDir>/test/**/*.test.js'],
  transform: {},
  setupFilesAfterEnv: ['<rootDir>/test/helpers/leaves-nothing.js'],
  // A net for what hangs, and no measure: tests wait for what they can see.
  testTimeout: 240_000,
  testSequencer: '<rootDir>/../scripts/jest-sequencer.cjs',
  reporters: ['default', '<rootDir>/../scripts/jest-report.cjs'],
};
