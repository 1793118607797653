/**
 * Who may import whom (docs/architecture.md). Each rule says why; `scripts/check-rules.mjs` plants a
 * violation of each and expects it to be found.
 * @type {import('dependency-cruiser').IConfiguration}
 */
const rooms = (...names) => `^src/(${names.join('|')})/`;
const EVERYTHING = '^src/';
const ROOTS =
  '^src/(cli/|(worker|index|ferry|copy-orders|download-orders|housekeeping|libraries|redis-of|job-changes|check-orders|order-parts|orders|locate-order|targets|doctor|dry-run|observed-worker)\\.ts$)';
const npm = (...names) => `node_modules/(${names.join('|')})/`;

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      comment: 'A cycle is one room with two doors: nothing in it can be read or tested alone.',
      from: {},
      to: { circular: true },
    },
    {
      name: 'errors-know-nothing',
      severity: 'error',
      comment: 'Everybody imports errors and xml; they import none of us.',
      from: { path: '^src/(errors|xml|planted-errors)\\.ts$' },
      to: { path: EVERYTHING },
    },
    {
      name: 'xml-is-the-only-door-to-libxmljs2',
      severity: 'error',
      comment: 'Its libxml2 has known holes: what reaches it must have passed the guard in xml.ts.',
      from: {
        path: EVERYTHING,
        pathNot: '^src/(xml\\.ts|simulator/validate\\.ts|simulator/descriptor\\.ts)$',
      },
      to: { path: npm('libxmljs2') },
    },
    {
      name: 'source-knows-only-bytes',
      severity: 'error',
      comment: 'A source is bytes at offsets; what they mean is for the rooms above it.',
      from: { path: rooms('source') },
      to: { path: EVERYTHING, pathNot: '^src/(errors\\.ts|source/)' },
    },
    {
      name: 'source-opens-sockets-in-http-only',
      severity: 'error',
      comment:
        'What is asked of a web server, and what of its answers is believed, is in one place.',
      from: { path: rooms('source'), pathNot: '^src/source/http-' },
      to: { path: `(${npm('got', 'hpagent')}|^(node:)?(net|tls|http|https|http2)$)` },
    },
    {
      name: 'ovf-knows-only-packages',
      severity: 'error',
      comment: 'A package is the same whoever uploads it: no vCD, no queue, no configuration.',
      from: { path: rooms('ovf') },
      to: { path: EVERYTHING, pathNot: '^src/(errors\\.ts|xml\\.ts|source/|ovf/)' },
    },
    {
      name: 'vcd-knows-only-vcd',
      severity: 'error',
      comment: "The API client says how to ask; when, how often and for which file is the story's.",
      from: { path: rooms('vcd') },
      to: { path: EVERYTHING, pathNot: '^src/(errors\\.ts|xml\\.ts|vcd/)' },
    },
    {
      name: 'vss-knows-only-its-service',
      severity: 'error',
      comment: 'It shares the way to open sockets with vCD, and nothing of what is said over them.',
      from: { path: rooms('vss') },
      to: { path: EVERYTHING, pathNot: '^src/(errors\\.ts|vss/|vcd/http)' },
    },
    {
      name: 'vcd-opens-sockets-in-http-only',
      severity: 'error',
      comment: 'Trust, proxies and timeouts are decided in one place.',
      from: { path: rooms('vcd'), pathNot: '^src/vcd/http' },
      to: { path: `(${npm('got', 'hpagent')}|^(node:)?(net|tls|http|https|http2)$)` },
    },
    {
      name: 'vcd-touches-no-files',
      severity: 'error',
      comment: 'Bytes and certificates are handed to it.',
      from: { path: rooms('vcd') },
      to: { path: '^(node:)?fs(/|$)' },
    },
    {
      name: 'only-jobs-know-bullmq',
      severity: 'error',
      comment: 'Its exceptions, states and keys stay in one room, so that it can be replaced.',
      from: { path: EVERYTHING, pathNot: rooms('jobs') },
      to: { path: npm('bullmq') },
    },
    {
      name: 'jobs-are-handed-the-outside',
      severity: 'error',
      comment: 'Configuration, environment and log are handed in by the composition roots.',
      from: { path: rooms('jobs') },
      to: {
        path: EVERYTHING,
        pathNot: '^src/(errors\\.ts|(jobs|ovf|source|destination|vcd|redis)/)',
      },
    },
    {
      name: 'destination-knows-only-files',
      severity: 'error',
      comment: "What is written to a disk, and when it gets its name, is the story's to say.",
      from: { path: rooms('destination') },
      to: { path: EVERYTHING, pathNot: '^src/(errors\\.ts|source/|destination/)' },
    },
    {
      name: 'redis-knows-only-redis',
      severity: 'error',
      comment: 'How to reach and keep a Redis has nothing to do with what is in it.',
      from: { path: rooms('redis') },
      to: { path: EVERYTHING, pathNot: '^src/(errors\\.ts|redis/)' },
    },
    {
      name: 'config-knows-no-room',
      severity: 'error',
      comment: 'The composition roots hand each room its own piece.',
      from: { path: rooms('config') },
      to: { path: EVERYTHING, pathNot: '^src/(errors\\.ts|config/)' },
    },
    {
      name: 'observe-does-not-act',
      severity: 'error',
      comment: 'Whoever watches needs neither packages nor a vCD.',
      from: { path: rooms('observe') },
      to: { path: EVERYTHING, pathNot: '^src/(errors\\.ts|jobs/|observe/)' },
    },
    {
      name: 'simulator-shares-nothing',
      severity: 'error',
      comment: 'Shared code, types or constants would let client and simulator be wrong together.',
      from: { path: rooms('simulator') },
      to: { path: EVERYTHING, pathNot: rooms('simulator') },
    },
    {
      name: 'nobody-imports-the-simulator',
      severity: 'error',
      comment: 'The product must not lean on its stand-in; only the command that starts it may.',
      from: { path: EVERYTHING, pathNot: '^src/(simulator/|cli/simulate\\.ts)' },
      to: { path: rooms('simulator') },
    },
    {
      name: 'nobody-imports-a-composition-root',
      severity: 'error',
      comment: 'Roots put rooms together; a room that needs one has it the wrong way round.',
      from: {
        path: EVERYTHING,
        pathNot: ROOTS,
      },
      to: { path: ROOTS },
    },
    {
      name: 'no-dev-dependencies-in-src',
      severity: 'error',
      comment:
        'They are not there where ovaferry is installed; the page is bundled when it is built.',
      from: { path: EVERYTHING, pathNot: '^src/observe/page/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['npm'] },
    },
    {
      name: 'everything-resolves',
      severity: 'error',
      comment: "What the linter can't find it can't judge.",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|build|test/bench)/' }, // the bench drives what was built
    tsPreCompilationDeps: true,
    parser: 'swc',
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.json'],
    },
  },
};
