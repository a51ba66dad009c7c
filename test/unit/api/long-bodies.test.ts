/** Whose long body is taken apart next. */
import { LongBodyTurns } from '../../../api/http/long-bodies';

const long = 100_000;
const busyFor = (ms: number): void => {
  for (const endMs = performance.now() + ms; performance.now() < endMs;);
};

test('long bodies are taken apart one after the other, and others have the time between', async () => {
  const turns = new LongBodyTurns();
  const done: ('body' | 'others')[] = [];
  // What looks at what came in, as the process does for everybody.
  const watch = setInterval(() => done.at(-1) === 'others' || done.push('others'), 1);
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      await turns.wait('busy', long);
      busyFor(20);
      done.push('body');
    }),
  );
  clearInterval(watch);
  const bodies = done.slice(done.indexOf('body'));
  expect(bodies).toEqual(bodies.map((_, at) => (at % 2 === 0 ? 'body' : 'others')));
  expect(bodies).toHaveLength(19);
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
