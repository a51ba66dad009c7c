/** The bound of a text: what holds of a short one holds of one that is bounded in pieces. */
import fc from 'fast-check';
import { textTokensMax } from '../../../core/prices/token-bounds';

const pieceUnits = 65_536;
const bytesOf = (text: string): number => Buffer.byteLength(JSON.stringify(text));

describe('the bound of a text', () => {
  test('is no less than its bytes, as it is and in its compatibility form, wherever it is cut', () => {
    const unit = fc.oneof(
      fc.constantFrom(
        '\ufdfa',
        '\u{1f600}',
        'e\u0301',
        '=\u0338',
        '\u1112\u1161\u11ab',
        '\u0344',
        '\u01d6\u0324',
        '\ufb01',
        '\n',
      ),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 4 }),
    );
    const before = fc.integer({ min: pieceUnits - 8, max: pieceUnits + 1 });
    fc.assert(
      fc.property(before, fc.array(unit, { minLength: 1, maxLength: 12 }), (length, units) => {
        const text = 'a'.repeat(length) + units.join('');
        const bound = textTokensMax(text);
        expect(bound).toBeGreaterThanOrEqual(bytesOf(text));
        expect(bound).toBeGreaterThanOrEqual(bytesOf(text.normalize('NFKC')));
      }),
    );
  });

  test('cuts no pair of surrogates, which would be six letters each', () => {
    const text = 'a'.repeat(pieceUnits - 1) + '\u{1f600}'.repeat(10);
    expect(textTokensMax(text)).toBe(bytesOf(text) + 2 + 16);
  });

  test('is had of letters that are 18 each in their compatibility form', () => {
    expect(textTokensMax('\ufdfa'.repeat(200_000))).toBeGreaterThanOrEqual(200_000 * 33);
    expect(textTokensMax('')).toBe(2);
  });
});
