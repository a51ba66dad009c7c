import fc from 'fast-check';
import {
  divideRoundUp,
  floorUsd,
  formatUsd,
  formatUsdFixed,
  MAX_USD_EXCLUSIVE,
  maxUsd,
  minUsd,
  MoneyError,
  parseAmountUsd,
  parseUsd,
  sumUsd,
  usdToNumber,
} from '../../../core/money';

const anyUsd = fc.bigInt({ min: -MAX_USD_EXCLUSIVE + 1n, max: MAX_USD_EXCLUSIVE - 1n });

describe('reading amounts', () => {
  it.each([
    ['0', 0n],
    ['-0', 0n],
    ['1', 1_000_000_000_000n],
    ['0.0276', 27_600_000_000n],
    ['-1.50', -1_500_000_000_000n],
    ['10.000000000000', 10_000_000_000_000n],
    ['0.000000000001', 1n],
    ['999999999999999.999999999999', 999_999_999_999_999_999_999_999_999n],
  ])('reads %s as %s pico-dollars', (text, usd) => {
    expect(parseUsd(text)).toBe(usd);
  });

  it.each([
    '',
    ' ',
    ' 1',
    '1 ',
    '1\n',
    'NaN',
    'Infinity',
    '-Infinity',
    '1e3',
    '1E3',
    '+1',
    '--1',
    '0x10',
    '0b1',
    '1_000',
    '1,000',
    '1,5',
    '.5',
    '5.',
    '1.2.3',
    '-',
    '.',
    '01',
    '00',
    '$1',
    '１',
    '1n',
    'null',
    '9'.repeat(100),
  ])('refuses %j, which is no plain decimal', (text) => {
    expect(() => parseUsd(text)).toThrow(MoneyError);
    expect(() => parseUsd(text)).toThrow(/is not an amount in USD/);
  });

  it.each(['1e-05', '2.5E-7', '1E+2'])('says that %s is to be written out, as Python and others do not', (text) => {
    expect(() => parseUsd(text)).toThrow(`"${text}" is not an amount in USD. Write it out, without an exponent: `);
  });

  it('refuses an amount finer than a pico-dollar, and says how many decimals are allowed', () => {
    expect(() => parseUsd('0.0000000000001')).toThrow(/has 13 decimals; an amount in USD has at most 12/);
  });

  it.each(['1000000000000000', '-1000000000000000', '99999999999999999999'])('refuses %s as absurdly large', (text) => {
    expect(() => parseUsd(text)).toThrow(/is too large/);
  });

  it.each([[1], [null], [undefined], [Number.NaN], [{}], [1n]])('refuses %p, which is no string', (value) => {
    expect(() => parseUsd(value as string)).toThrow(MoneyError);
  });

  it('names the code and quotes no more than the start of a long value', () => {
    let caught: unknown;
    try {
      parseUsd('x'.repeat(5000));
    } catch (error) {
      caught = error;
    }
    expect(caught).toMatchObject({ code: 'invalid_amount', name: 'MoneyError' });
    expect(String(caught).length).toBeLessThan(200);
  });

  it('refuses a negative amount where only amounts of zero or more make sense', () => {
    expect(parseAmountUsd('0')).toBe(0n);
    expect(() => parseAmountUsd('-0.01')).toThrow(/is negative/);
  });
});

describe('writing amounts', () => {
  it.each([
    [0n, '0'],
    [10_000_000_000_000n, '10'],
    [27_600_000_000n, '0.0276'],
    [-1_500_000_000_000n, '-1.5'],
    [1n, '0.000000000001'],
    [-1n, '-0.000000000001'],
  ])('writes %s pico-dollars as %s', (usd, text) => {
    expect(formatUsd(usd)).toBe(text);
  });

  it('reads back exactly what it wrote', () => {
    fc.assert(fc.property(anyUsd, (usd) => parseUsd(formatUsd(usd)) === usd));
  });

  it('writes one text for one amount, so that texts can be compared', () => {
    fc.assert(
      fc.property(anyUsd, fc.nat(12), (usd, zeros) => {
        const text = formatUsd(usd);
        const padded = text.includes('.') ? text : `${text}.${'0'.repeat(zeros)}`.replace(/\.$/, '');
        return formatUsd(parseUsd(padded)) === text;
      }),
    );
  });

  it.each([
    [5_000_000_000n, 2, '0.01'],
    [4_999_999_999n, 2, '0.00'],
    [-5_000_000_000n, 2, '-0.01'],
    [-4_999_999_999n, 2, '0.00'],
    [999_999_999_999n, 2, '1.00'],
    [500_000_000_000n, 0, '1'],
    [27_600_000_000n, 4, '0.0276'],
    [1n, 12, '0.000000000001'],
    [12_345_678_901_234_567n, 3, '12345.679'],
  ])('shows %s pico-dollars with %i decimals as %s', (usd, decimals, text) => {
    expect(formatUsdFixed(usd, decimals)).toBe(text);
  });

  it('floors to no more than there is, and less by no whole decimal', () => {
    fc.assert(
      fc.property(anyUsd, fc.integer({ min: 0, max: 12 }), (usd, decimals) => {
        const floored = floorUsd(usd, decimals);
        expect(floored % 10n ** BigInt(12 - decimals)).toBe(0n);
        expect(usd - floored).toBeGreaterThanOrEqual(0n);
        expect(usd - floored).toBeLessThan(10n ** BigInt(12 - decimals));
      }),
    );
  });

  it.each([-1, 13, 1.5, Number.NaN])('refuses to show %p decimals', (decimals) => {
    expect(() => formatUsdFixed(1n, decimals)).toThrow(RangeError);
  });

  it('gives the nearest number for display', () => {
    expect(usdToNumber(parseUsd('150.5'))).toBe(150.5);
    expect(usdToNumber(parseUsd('-0.000000000001'))).toBe(-1e-12);
  });
});

describe('calculating with amounts', () => {
  it('finds the smallest and the largest, also among amounts that differ by one pico-dollar', () => {
    expect(minUsd(3n, -2n, 5n)).toBe(-2n);
    expect(maxUsd(3n, -2n, 5n)).toBe(5n);
    expect(minUsd(10n ** 26n, 10n ** 26n - 1n)).toBe(10n ** 26n - 1n);
  });

  it('adds exactly where floating point does not', () => {
    expect(formatUsd(sumUsd([parseUsd('0.1'), parseUsd('0.2')]))).toBe('0.3');
    expect(sumUsd([])).toBe(0n);
  });

  it.each([
    [0n, 3n, 0n],
    [1n, 3n, 1n],
    [3n, 3n, 1n],
    [4n, 3n, 2n],
    [-1n, 3n, 0n],
    [-3n, 3n, -1n],
    [-4n, 3n, -1n],
  ])('divides %s by %s to %s, upwards', (dividend, divisor, quotient) => {
    expect(divideRoundUp({ dividend, divisor })).toBe(quotient);
  });

  it.each([0n, -1n])('refuses to divide by %s', (divisor) => {
    expect(() => divideRoundUp({ dividend: 1n, divisor })).toThrow(RangeError);
  });
});
