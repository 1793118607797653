/**
 * Tests run as the JavaScript that `tsc -p tsconfig.test.json` made of them: child processes and
 * worker threads start from the same files as in production, and no transformer stands between.
 * @type {import('jest').Config}
 */
export default {
  rootDir: 'build',
  testMatch: ['<rootDir>/test/**/*.test.js'],
  transform: {},
  testTimeout: 60_000,
  reporters: ['default', '<rootDir>/../scripts/jest-closing-line.cjs'],
};
