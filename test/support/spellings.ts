/** Other spellings that Postgres takes for a UUID: they name the same row. */
import fc from 'fast-check';

/** Hyphens may stand after each group of four digits, and need not. */
const hyphenated = (digits: string, after: readonly boolean[]): string =>
  Array.from({ length: 8 }, (_, group) => digits.slice(group * 4, group * 4 + 4))
    .map((four, group) => four + (group < 7 && after[group] ? '-' : ''))
    .join('');

/** Any spelling of one id. */
export const spellingOf = (id: string): fc.Arbitrary<string> =>
  fc
    .record({
      upper: fc.array(fc.boolean(), { minLength: 32, maxLength: 32 }),
      hyphens: fc.array(fc.boolean(), { minLength: 7, maxLength: 7 }),
      braces: fc.boolean(),
    })
    .map(({ upper, hyphens, braces }) => {
      const digits = [...id.replaceAll('-', '')].map((digit, place) => (upper[place] ? digit.toUpperCase() : digit));
      const text = hyphenated(digits.join(''), hyphens);
      return braces ? `{${text}}` : text;
    });

/** One of each kind. */
export const spellingsOf = (id: string): string[] => {
  const digits = id.replaceAll('-', '');
  const mixed = [...id].map((digit, place) => (place % 2 === 0 ? digit.toUpperCase() : digit)).join('');
  return [
    id,
    id.toUpperCase(),
    mixed,
    `{${id}}`,
    `{${id.toUpperCase()}}`,
    digits,
    digits.toUpperCase(),
    hyphenated(digits, [true, true, true, true, true, true, true]),
  ];
};
