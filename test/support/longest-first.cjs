/**
 * Starts the longest test files first, so that a run does not end with one long file alone while the other workers have nothing
 * left. Jest knows how long files take only after a run on the same machine. A file that is not named here is short.
 */
const Sequencer = require('@jest/test-sequencer').default;

const longest = [
  'integration/start-stop',
  'chaos/conversations',
  'integration/money-waiting',
  'chaos/chaos',
  'chaos/kill',
  'integration/conversations-long',
  'integration/sandbox-provider-ill',
  'integration/slow-batches',
  'integration/encryption',
  'replay/replay',
  'integration/start-root',
  'chaos/outages',
  'integration/start',
  'integration/sandboxes',
  'integration/operators',
  'integration/books',
  'integration/leases',
  'integration/telemetry',
  'chaos/silence',
  'chaos/paid-answers',
  'chaos/policies',
  'integration/mandates-held-up',
  'integration/backup',
  'integration/redirects',
  'chaos/failures',
  'integration/providers',
  'integration/package',
  'integration/api-limits',
  'integration/command-line',
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
