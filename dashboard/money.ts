/** Amounts as people read them. What is exact stays in the tooltip; a float is only ever a place on a screen. */
import { balanceOf, remainingUsd, type QuotaAmounts } from '../core/budget/quotas';
import { floorUsd, formatUsd, parseUsd, usdToNumber, type Usd } from '../core/money';

const usd = (text: string | null | undefined): Usd => parseUsd(text ?? '0');
/** For bars and axes. */
export const asNumber = (text: string | null | undefined): number => usdToNumber(usd(text));

/** Two decimals from a dollar on; below that the first three digits that are not zero, and at least two decimals. */
export const showUsd = (text: string): string => showDollars(asNumber(text));

/** The same of what is left: never more than there is. */
export const showLeft = (text: string): string =>
  showUsd(formatUsd(floorUsd(usd(text), decimalsOf(Math.abs(asNumber(text))))));

const decimalsOf = (size: number): number =>
  size >= 1 || size === 0 ? 2 : Math.min(12, Math.max(2, 2 - Math.floor(Math.log10(size))));

/** The same of a place on a chart. */
export function showDollars(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '$0';
  const sign = value < 0 ? '−' : '';
  const decimals = decimalsOf(size);
  return `${sign}$${size.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: decimals })}`;
}

/** Short enough for an axis: from a hundred thousand on as $150K, $2.5M. */
export function axisDollars(value: number): string {
  if (Math.abs(value) < 100_000) return `$${value.toLocaleString('en-US', { maximumSignificantDigits: 4 })}`;
  return `$${value.toLocaleString('en-US', { notation: 'compact', maximumSignificantDigits: 4 })}`;
}

export const difference = (from: string, less: string): string => formatUsd(usd(from) - usd(less));
/** A limit with what it was topped up by. */
export const wholeLimitUsd = (quota: QuotaAmounts): string => formatUsd(balanceOf(quota).limitUsd);
/** What is left of a quota. */
export const leftUsd = (quota: QuotaAmounts): string => formatUsd(remainingUsd(balanceOf(quota)));
export const sum = (...amounts: string[]): string => formatUsd(amounts.reduce((total, one) => total + usd(one), 0n));
