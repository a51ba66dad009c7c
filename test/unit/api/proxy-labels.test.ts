/** Labels in a header of a request to the wire proxy. */
import fc from 'fast-check';
import { labelsIn } from '../../../api/proxy/labels';

test.each([
  ['team=search,feature=summary', { team: 'search', feature: 'summary' }],
  [' team = search , feature=a=b ', { team: 'search', feature: 'a=b' }],
  ['team=a%2Cb%25%20', { team: 'a,b% ' }],
  ['team=Zürich', { team: 'Zürich' }],
  ['team=Z%C3%BCrich,', { team: 'Zürich' }],
  ['team=a+b c', { team: 'a+b c' }],
])('%j names labels', (header, labels) => {
  expect(labelsIn(header)).toEqual(labels);
});

test.each(['', ' ', ','])('%j names none', (header) => {
  expect(labelsIn(header)).toBeUndefined();
});

test.each([
  ['team', 'key=value'],
  ['{"team":"search"}', 'key=value'],
  ['team=a,team=b', 'twice'],
  ['Team=a', 'keys'],
  ['__proto__=a', 'keys'],
  ['=a', 'keys'],
  ['team=', 'control characters'],
  ['team=a%0Ab', 'control characters'],
  ['team=100%', 'percent'],
  ['team=%C3', 'percent'],
  ['team=other', 'other'],
  [`team=${'a'.repeat(65)}`, '64 bytes'],
  ['a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1', 'at most 8'],
])('%j is refused: %s', (header, why) => {
  expect(() => labelsIn(header)).toThrow(why);
});

test('whatever may be a value can be said', () => {
  const value = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 10 })
    .filter((text) => /^[^\p{Cc}\p{Cf}\u2028\u2029]+$/u.test(text) && text !== 'other');
  fc.assert(
    fc.property(value, (text) => {
      expect(labelsIn(`a=b,team=${encodeURIComponent(text)}`)).toEqual({ a: 'b', team: text });
    }),
  );
});
