/** Bounds that need no server: the failures that are logged, and what a terminal is shown. */
import { RepeatedFailures } from '../../../telemetry/repeated-failures';
import { plainText } from '../../../api/http/text';
import { printable, table } from '../../../cli/output';

test('a failure that repeats is logged with a count', async () => {
  const lines: object[] = [];
  const failures = new RepeatedFailures({ error: ((fields: object) => lines.push(fields)) as never }, 'failed', 50);
  for (let at = 0; at < 500; at += 1) failures.add(sameError(), { path: `/${at}` });
  failures.add(new TypeError('another'), { path: '/other' });
  expect(lines).toEqual([{ path: '/0' }, { path: '/other' }]);
  await new Promise((resolve) => setTimeout(resolve, 120));
  expect(lines.slice(2)).toEqual([{ path: '/499', repeats: 499 }]);
});
const sameError = (): Error => new Error('the same');

const awkward = ['\u001b[2J', 'a\rb', 'a\u0007', '\u009b31m', 'a\u202eb', 'a\u2028b', 'a\nb', '\u007f'];

test('XC6: control characters of names never reach a terminal', () => {
  for (const text of awkward) {
    const shown = table([{ name: 'user', of: (row: string) => row }], [text], 'none');
    expect(shown).not.toMatch(/[^\n\P{Cc}]|[\u202a-\u202e\u2028]/u);
    expect(printable(text, { lines: true })).not.toMatch(/[^\n\P{Cc}]|[\u202a-\u202e\u2028]/u);
  }
  expect(printable('Größe 🙂 è')).toBe('Größe 🙂 è');
  expect(printable('\u001b[2J')).toBe('\\u001b[2J');
});

test('XC6: names with control characters are not taken', () => {
  for (const text of awkward) expect(plainText(128).safeParse(text).success).toBe(false);
  for (const text of ['ada', 'Größe 🙂', 'a b', 'x@y.z']) expect(plainText(128).safeParse(text).success).toBe(true);
});
