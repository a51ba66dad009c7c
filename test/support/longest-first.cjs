/**
 * Starts the longest test files first, so that a run does not end with one long file alone while the other workers have nothing
 * left. Jest knows how long files take only after a run on the same machine. A file that is not named here is short.
 */
const Sequencer = require('@jest/test-sequencer').default;

const longest = [
  'chaos/conversations',
  'integration/start-stop',
  'chaos/chaos',
  'integration/start',
  'chaos/kill',
  'integration/package',
  'integration/money-waiting',
  'integration/command-line',
  'integration/sandbox-provider-ill',
  'integration/conversations-long',
  'integration/slow-batches',
  'integration/start-root',
  'integration/sandboxes',
  'replay/replay',
  'integration/telemetry',
  'chaos/silence',
  'integration/usage',
  'integration/operators',
  'integration/providers',
  'integration/locks',
  'integration/paid-answers',
  'chaos/outages',
  'chaos/paid-answers',
  'integration/api-limits',
  'chaos/failures',
  'integration/redirects',
  'integration/authority',
  'integration/long-answers',
  'integration/embedded',
  'integration/encryption',
  'integration/api',
  'integration/alerts',
  'integration/control',
  'integration/versions',
  'integration/temporal-ui',
  'integration/untaken-answers',
  'integration/books',
  'integration/hostile-tools',
  'integration/end-to-end',
  'integration/no-answer',
].map((name) => `/test/${name}.test.ts`);

const rank = ({ path }) => {
  const place = longest.findIndex((name) => path.replaceAll('\\', '/').endsWith(name));
  return place === -1 ? longest.length : place;
};

module.exports = class LongestFirst extends Sequencer {
  sort(tests) {
    return [...super.sort(tests)].sort((one, other) => rank(one) - rank(other));
  }
};
