/** Who asks for one operation at once, and when what it was granted is given back. */
import { Askers, type Asked, type LeftWith } from '../../../authority/client/askers';
import { settle } from '../../support/manual-clock';

/** Who comes (`+a`) and how who leaves (`a: a grant`), in order; answers after which of them it is released. */
function released(steps: readonly string[]): string[] {
  const askers = new Askers('p');
  const leaving = new Map<string, Asked['leave']>();
  return steps.filter((step) => {
    const [who = '', how] = step.replace('+', '').split(': ');
    if (how === undefined) leaving.set(who, askers.enter('acme a').leave);
    return how !== undefined && leaving.get(who)?.(how as LeftWith) !== undefined;
  });
}

test.each([
  { what: 'who uses its grant keeps it', steps: ['+a', 'a: a grant'], after: [] },
  { what: 'who has gone has it released', steps: ['+a', 'a: no use'], after: ['a: no use'] },
  { what: 'nothing is released for who was denied', steps: ['+a', 'a: nothing'], after: [] },
  { what: 'who still asks may use it', steps: ['+a', '+b', 'a: no use', 'b: a grant'], after: [] },
  { what: 'who uses it and was answered first keeps it', steps: ['+a', '+b', 'b: a grant', 'a: no use'], after: [] },
  { what: 'the last to go gives it back', steps: ['+a', '+b', 'a: no use', 'b: no use'], after: ['b: no use'] },
  {
    what: 'one that asked for something else under the same id, and was refused, keeps nobody’s grant',
    steps: ['+a', '+b', 'a: no use', 'b: nothing'],
    after: ['b: nothing'],
  },
  {
    what: 'who asks after all have left is not counted with them',
    steps: ['+a', 'a: a grant', '+b', 'b: no use'],
    after: ['b: no use'],
  },
])('$what', ({ steps, after }) => {
  expect(released(steps)).toEqual(after);
});

test('each operation has its own', () => {
  const askers = new Askers('p');
  const [one, other] = [askers.enter('acme a'), askers.enter('acme b')];
  expect([one.leave('no use'), other.leave('a grant')]).toEqual([expect.any(Promise), undefined]);
});

test('those that ask at once are one asker; who asks later, for something else or elsewhere is another', () => {
  const askers = new Askers('p');
  const [one, same, other] = ['acme a', 'acme a', 'acme b'].map((operation) => askers.enter(operation));
  void one?.leave('no use');
  void same?.leave('nothing');
  const later = askers.enter('acme a');
  const elsewhere = new Askers('q').enter('acme a');
  expect(same?.asker).toBe(one?.asker);
  expect(new Set([one, other, later, elsewhere].map((each) => each?.asker)).size).toBe(4);
});

test('who has gone is released after all that was asked in its name, also by who left before, and however that ends', async () => {
  const askers = new Askers('p');
  const [one, same] = [askers.enter('acme a'), askers.enter('acme a')];
  const ends: (() => void)[] = [];
  one.during(new Promise<void>((resolve) => ends.push(resolve)));
  same.during(new Promise<void>((_, reject) => ends.push(() => reject(new Error('cut')))));
  void one.leave('no use');
  let isReleased = false;
  const released = same.leave('no use')?.then(() => (isReleased = true));
  for (const end of ends) {
    await settle();
    expect(isReleased).toBe(false);
    end();
  }
  await released;
  expect(isReleased).toBe(true);
});
