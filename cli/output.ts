/** Tables for people, JSON for scripts. */
import Table from 'cli-table3';
import { formatUsdFixed, parseUsd } from '../core/money';

/** Dollars and cents, and as many digits more as there are, up to six. */
export function usd(text: string | null | undefined): string {
  if (text == null) return '–';
  const fixed = formatUsdFixed(parseUsd(text), 6).replace(/(\.\d\d\d*?)0+$/, '$1');
  return fixed.startsWith('-') ? `-$${fixed.slice(1)}` : `$${fixed}`;
}

/**
 * Text that others chose, so that a terminal shows it and does not obey it: control characters, and marks that turn text around,
 * are written as escapes. Line breaks stay where lines are meant.
 */
export const printable = (text: string, { lines = false }: { lines?: boolean } = {}): string =>
  text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (character) =>
    lines && (character === '\n' || character === '\t')
      ? character
      : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

export interface Column<T> {
  name: string;
  of: (row: T) => string;
  right?: boolean;
}

/** Plain lines, so that it reads the same in a terminal and in a file. */
export function table<T>(columns: readonly Column<T>[], rows: readonly T[], none: string): string {
  if (rows.length === 0) return none;
  const drawn = new Table({
    head: columns.map(({ name }) => name),
    colAligns: columns.map(({ right }) => (right ? 'right' : 'left')),
    style: { head: [], border: [] },
  });
  for (const row of rows) drawn.push(columns.map(({ of }) => printable(of(row))));
  return drawn.toString();
}

/** What the command found or did: as one JSON value, or as words. */
export function show(asJson: boolean, value: unknown, words: () => string): void {
  console.log(printable(asJson ? JSON.stringify(value) : words(), { lines: true }));
}
