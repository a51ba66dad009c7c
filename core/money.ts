/**
 * Money as a whole number of pico-dollars (10⁻¹² USD): $1 is 1_000_000_000_000n. A price per million tokens with up to
 * six decimals is a whole number of them per token, so costs and sums are exact. Money is never a `number`.
 */
export type Usd = bigint;

/** Pico-dollars in one dollar. */
export const PICO_PER_USD = 1_000_000_000_000n;

/** Decimals that an amount may have: one pico-dollar, and the scale of the `numeric(38,12)` columns. */
export const USD_DECIMALS = 12;

/**
 * Amounts are smaller than 10¹⁵ USD in either direction. A larger one is a mistake, and the sum of 10¹¹ such amounts
 * still fits a `numeric(38,12)` column.
 */
export const MAX_USD_EXCLUSIVE: Usd = 1_000_000_000_000_000n * PICO_PER_USD;

/** The text or number given is no amount of money. */
export class MoneyError extends Error {
  override readonly name = 'MoneyError';
  readonly code = 'invalid_amount';
}

const decimalPattern = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?$/;

/** The value as an error message may show it: quoted, and cut when it is long. */
function shown(value: unknown): string {
  if (typeof value !== 'string') return `a ${value === null ? 'null' : typeof value}`;
  return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
}

/**
 * Reads an amount in USD from a plain decimal such as `12`, `0.0276` or `-1.50`.
 * @throws MoneyError for anything else: exponents, signs other than a leading minus, blanks, leading zeros, `NaN`,
 * more than 12 decimals, or 10¹⁵ USD and beyond.
 */
export function parseUsd(text: string): Usd {
  const match = typeof text === 'string' && text.length <= 64 ? decimalPattern.exec(text) : null;
  if (!match) {
    const how = /\de[-+]?\d/i.test(String(text)) ? 'Write it out, without an exponent: ' : 'Write ';
    throw new MoneyError(
      `${shown(text)} is not an amount in USD. ${how}a plain decimal string such as "12" or "0.0276".`,
    );
  }
  const [, sign, whole = '', fraction = ''] = match;
  if (fraction.length > USD_DECIMALS) {
    throw new MoneyError(
      `${shown(text)} has ${fraction.length} decimals; an amount in USD has at most ${USD_DECIMALS}. Round it first.`,
    );
  }
  const magnitude = BigInt(whole + fraction.padEnd(USD_DECIMALS, '0'));
  if (magnitude >= MAX_USD_EXCLUSIVE) {
    throw new MoneyError(
      `${shown(text)} is too large: an amount is smaller than 1000000000000000 USD. Check its unit.`,
    );
  }
  return sign === '-' ? -magnitude : magnitude;
}

/**
 * Reads an amount in USD that cannot be negative: a price, a limit, a cost, an estimate.
 * @throws MoneyError as {@link parseUsd} does, and for an amount below zero.
 */
export function parseAmountUsd(text: string): Usd {
  const usd = parseUsd(text);
  if (usd < 0n) throw new MoneyError(`${shown(text)} is negative; this amount is zero or more USD.`);
  return usd;
}

/** Writes an amount as the shortest plain decimal that is exactly it: `0`, `10`, `0.0276`, `-1.5`. */
export function formatUsd(usd: Usd): string {
  const magnitude = usd < 0n ? -usd : usd;
  const whole = magnitude / PICO_PER_USD;
  const fraction = (magnitude % PICO_PER_USD).toString().padStart(USD_DECIMALS, '0').replace(/0+$/, '');
  return `${usd < 0n ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}

/** Writes an amount with a fixed number of decimals (0 to 12), for tables. Rounds half away from zero. */
export function formatUsdFixed(usd: Usd, decimals: number): string {
  if (!Number.isInteger(decimals) || decimals < 0 || decimals > USD_DECIMALS) {
    throw new RangeError(`An amount is shown with 0 to ${USD_DECIMALS} decimals, not ${decimals}.`);
  }
  const unit = 10n ** BigInt(USD_DECIMALS - decimals);
  const magnitude = usd < 0n ? -usd : usd;
  const rounded = (magnitude + unit / 2n) / unit;
  const digits = rounded.toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals);
  const sign = usd < 0n && rounded > 0n ? '-' : '';
  return sign + whole + (decimals === 0 ? '' : `.${digits.slice(-decimals)}`);
}

/** An amount without what is smaller than its last decimal, towards less: of what is left never more is shown than there is. */
export function floorUsd(usd: Usd, decimals: number): Usd {
  const unit = 10n ** BigInt(USD_DECIMALS - decimals);
  const rest = usd % unit;
  return usd - (rest < 0n ? rest + unit : rest);
}

/** The smallest of one or more amounts. */
export const minUsd = (first: Usd, ...rest: Usd[]): Usd =>
  rest.reduce((least, usd) => (usd < least ? usd : least), first);

/** The largest of one or more amounts. */
export const maxUsd = (first: Usd, ...rest: Usd[]): Usd => rest.reduce((most, usd) => (usd > most ? usd : most), first);

/** The sum of amounts; 0 of none. */
export function sumUsd(amounts: Iterable<Usd>): Usd {
  let sum = 0n;
  for (const usd of amounts) sum += usd;
  return sum;
}

/**
 * Divides and rounds up, towards positive infinity: what an estimate does when it does not come out even.
 * @throws RangeError when the divisor is zero or less.
 */
export function divideRoundUp({ dividend, divisor }: { dividend: bigint; divisor: bigint }): bigint {
  if (divisor <= 0n) throw new RangeError('The divisor must be greater than zero.');
  const quotient = dividend / divisor;
  return dividend > 0n && dividend % divisor !== 0n ? quotient + 1n : quotient;
}

/**
 * The nearest JSON number, for display only: the `quotaDetails` of a denial have numbers, as clients of that format
 * expect. It loses digits, so it never comes back into a calculation.
 */
export const usdToNumber = (usd: Usd): number => Number(formatUsd(usd));
