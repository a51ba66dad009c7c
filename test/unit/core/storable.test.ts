import fc from 'fast-check';
import { cutAt, storable, storableText, unstorableIn } from '../../../core/storable';

describe('text from outside', () => {
  test('keeps every character that can be stored, pairs of surrogates among them', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const clean = text.replaceAll('\0', '');
        expect(storableText(clean)).toBe(clean);
      }),
    );
  });

  test.each([
    ['a\0b', 'a\ufffdb'],
    ['half \ud83d', 'half \ufffd'],
    ['\ude00 half', '\ufffd half'],
    ['\ude00\ud83d', '\ufffd\ufffd'],
    ['whole \ud83d\ude00', 'whole \ud83d\ude00'],
  ])('%j becomes %j, of the same length', (text, stored) => {
    expect(storableText(text)).toBe(stored);
    expect(stored).toHaveLength(text.length);
  });

  test('is made storable in keys and values of any depth, and never says what Postgres refuses', () => {
    expect(storable({ 'k\0': [{ deep: '\ud800' }, null, 1, true] })).toEqual({
      'k\ufffd': [{ deep: '\ufffd' }, null, 1, true],
    });
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom('\0', '\ud800', '\udfff'), (value, bad) => {
        const json = JSON.stringify(storable({ [bad]: value, value: bad }));
        expect(json).not.toMatch(/\\u0000|\\ud[89a-f]/i);
      }),
    );
  });

  test('is cut between characters, and says how many were replaced', () => {
    expect(cutAt('ab\ud83d\ude00', 3)).toBe(2);
    expect(cutAt('ab\ud83d\ude00', 4)).toBe(4);
    expect(cutAt('abc', 2)).toBe(2);
    expect(unstorableIn('a\0\ud800b\ud83d\ude00')).toBe(2);
  });
});
