/**
 * Tests run as the JavaScript that `tsc -p tsconfig.test.json` made of them: child processes and
 * worker threads start from the same files as in production, and no transformer stands between.
 *
 * Two projects, since `scripts/test.mjs` gives them different numbers of workers: what runs in one
 * process computes, what runs in many waits.
 */
const project = (displayName, folders) => ({
  displayName,
  rootDir: 'build',
  testMatch: folders.map((folder) => `<rootDir>/test/${folder}/**/*.test.js`),
  transform: {},
  setupFilesAfterEnv: ['<rootDir>/test/helpers/leaves-nothing.js'],
});

/** @type {import('jest').Config} */
export default {
  projects: [project('quick', ['unit', 'simulator', 'fault', 'fuzz']), project('e2e', ['e2e'])],
  // A net for what hangs, and no measure: tests wait for what they can see.
  testTimeout: 240_000,
  reporters: ['default', './scripts/jest-report.cjs'],
};
