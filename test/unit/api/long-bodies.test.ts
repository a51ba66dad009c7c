/** Whose long body is taken apart next. */
import { LongBodyTurns } from '../../../api/http/long-bodies';

const long = 100_000;
const busyFor = (ms: number): void => {
  for (const endMs = performance.now() + ms; performance.now() < endMs;);
};

test('long bodies are taken apart one after the other, and others have the time between', async () => {
  const turns = new LongBodyTurns();
  let longest = 0;
  let lastMs = performance.now();
  // What looks at what came in, as the process does for everybody.
  const watch = setInterval(() => {
    longest = Math.max(longest, performance.now() - lastMs);
    lastMs = performance.now();
  }, 1);
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      await turns.wait('busy', long);
      busyFor(20);
    }),
  );
  clearInterval(watch);
  // Ten at once would be 200.
  expect(longest).toBeLessThan(100);
});

test('owners have their turns, and short bodies wait for none', async () => {
  const turns = new LongBodyTurns();
  const done: string[] = [];
  const one = async (owner: string, length = long): Promise<void> => {
    await turns.wait(owner, length);
    done.push(owner);
  };
  await Promise.all([...Array.from({ length: 10 }, () => one('busy')), one('calm'), one('short', 500)]);
  expect(done[0]).toBe('short');
  expect(done.indexOf('calm')).toBeLessThan(4);
  expect(done).toHaveLength(12);
});
