/** Amounts as people read them. What is exact stays in the tooltip; a float is only ever a place on a screen. */
import { formatUsd, parseUsd, usdToNumber, type Usd } from '../core/money';

export const usd = (text: string | null | undefined): Usd => parseUsd(text ?? '0');
/** For bars and axes. */
export const asNumber = (text: string | null | undefined): number => usdToNumber(usd(text));

/** Two decimals from a dollar on; below that the first three digits that are not zero, and at least two decimals. */
export function showUsd(text: string): string {
  const value = asNumber(text);
  const size = Math.abs(value);
  if (size === 0) return '$0';
  const sign = value < 0 ? '−' : '';
  const decimals = size >= 1 ? 2 : Math.min(12, Math.max(2, 2 - Math.floor(Math.log10(size))));
  return `${sign}$${size.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: decimals })}`;
}

export const difference = (from: string, less: string): string => formatUsd(usd(from) - usd(less));
export const sum = (...amounts: string[]): string => formatUsd(amounts.reduce((total, one) => total + usd(one), 0n));
