import { decideInParts, PartSizes } from '../../../authority/in-parts';

class Refused extends Error {}
class TooSlow extends Error {}

/** Decides numbers: some are refused, and a part may be too large. */
function database({
  refused = [],
  sizeMax = Infinity,
  parts = Infinity,
}: {
  refused?: number[];
  sizeMax?: number;
  parts?: number;
}) {
  const decided: number[] = [];
  const aside: number[] = [];
  let tries = 0;
  return {
    decided,
    aside,
    tries: () => tries,
    decide: (count: number, size = 500) =>
      decideInParts({
        commands: Array.from({ length: count }, (_, index) => index),
        size,
        decide: (part) => {
          tries += 1;
          if (part.length > sizeMax) return Promise.reject(new TooSlow());
          if (part.some((one) => refused.includes(one))) return Promise.reject(new Refused());
          decided.push(...part);
          return Promise.resolve();
        },
        setAside: (command) => void aside.push(command),
        isRefusal: (error) => error instanceof Refused,
        isTooSlow: (error) => error instanceof TooSlow,
        hasTime: () => tries < parts,
      }),
  };
}

describe('a batch in parts (XA5)', () => {
  const all = Array.from({ length: 500 }, (_, index) => index);

  test('is one part as a rule, an empty one too', async () => {
    for (const count of [500, 0]) {
      const postgres = database({});
      expect(await postgres.decide(count)).toMatchObject({ done: count });
      expect(postgres.tries()).toBe(1);
    }
  });

  test.each([0, 347, 499])(
    'finds the refused one of 500 (number %d) in some twenty tries, in their order',
    async (bad) => {
      const postgres = database({ refused: [bad] });
      expect(await postgres.decide(500)).toMatchObject({ done: 500 });
      expect(postgres.decided).toEqual(all.filter((one) => one !== bad));
      expect(postgres.aside).toEqual([bad]);
      expect(postgres.tries()).toBeLessThanOrEqual(21);
    },
  );

  test('sets all aside that are refused', async () => {
    const postgres = database({ refused: [3, 4, 77, 400] });
    expect(await postgres.decide(500)).toMatchObject({ done: 500 });
    expect(postgres.aside).toEqual([3, 4, 77, 400]);
    expect(postgres.decided).toHaveLength(496);
  });

  test('gets smaller where it is too slow, and says how large the next may be', async () => {
    const postgres = database({ sizeMax: 100, parts: 4 });
    const { done, size } = await postgres.decide(500);
    expect({ done, size }).toEqual({ done: 63, size: 126 });
    expect(postgres.decided).toEqual(all.slice(0, 63));
  });

  test('ends when there is no time, also without having decided one', async () => {
    const postgres = database({ sizeMax: 100, parts: 2 });
    expect(await postgres.decide(500)).toMatchObject({ done: 0, size: 125, error: expect.any(TooSlow) as Error });
  });

  test('ends at any other error, and keeps what was decided', async () => {
    const error = new Error('away');
    const commands = [1, 2, 3];
    const parts = { setAside: () => undefined, isRefusal: () => false, isTooSlow: () => false, hasTime: () => true };
    let tries = 0;
    const decide = () => ((tries += 1) < 2 ? Promise.resolve() : Promise.reject(error));
    expect(await decideInParts({ ...parts, commands, size: 1, decide })).toMatchObject({ done: 1, error });
  });

  test('the size of a tenant grows back, and is forgotten then', () => {
    const sizes = new PartSizes(500, 2);
    sizes.note('a', 125);
    sizes.note('b', 500);
    expect([sizes.of('a'), sizes.of('b'), sizes.of('c')]).toEqual([125, 500, 500]);
    sizes.note('b', 7);
    sizes.note('c', 8);
    expect([sizes.of('a'), sizes.of('b'), sizes.of('c')]).toEqual([500, 7, 8]);
  });
});
