const { statSync } = require('node:fs');
const Sequencer = require('@jest/test-sequencer').default;

/**
 * The files that take longest go first, so that no worker is busy alone at the end. What a file's size
 * does not show is said here; what an earlier run took is not asked, since a fresh clone has none.
 */
const LONGEST = [
  'chaos',
  'takeover',
  'worker',
  'package',
  'machines',
  'other-way',
  'download',
  'death',
];

module.exports = class LongestFirst extends Sequencer {
  sort(tests) {
    const rank = ({ path }) => {
      const at = LONGEST.findIndex((name) => path.includes(`/${name}.test.`));
      return at < 0 ? LONGEST.length : at;
    };
    return [...tests].sort(
      (a, b) => rank(a) - rank(b) || statSync(b.path).size - statSync(a.path).size,
    );
  }
};
