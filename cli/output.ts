/** Tables for people, JSON for scripts. */
import Table from 'cli-table3';
import { floorUsd, formatUsd, formatUsdFixed, parseUsd } from '../core/money';

/** What is shown of an amount. */
const decimalsShown = 6;
/** An amount with every digit that it has. */
export const usdInFull = (text: string): string => withSign(formatUsd(parseUsd(text)));
const withSign = (text: string): string => (text.startsWith('-') ? `-$${text.slice(1)}` : `$${text}`);

/** Dollars and cents, and as many digits more as there are, up to six; what is less than those show has all of its own. */
export function usd(text: string | null | undefined): string {
  if (text == null) return '–';
  const exact = parseUsd(text);
  const fixed = formatUsdFixed(exact, decimalsShown);
  if (exact !== 0n && parseUsd(fixed) !== exact && /^-?0\.00/.test(fixed)) return usdInFull(text);
  return withSign(fixed.replace(/(\.\d\d\d*?)0+$/, '$1'));
}

/** Said after how a call is that goes on without a grant. */
export const unreservedWords = ({
  unreserved = false,
  allowedUsd,
}: {
  unreserved?: boolean;
  allowedUsd?: string | null;
}): string => (unreserved ? `, up to ${usd(allowedUsd)} unreserved` : '');

/** What is said of an envelope, of which what is shown as held is the rest; nothing of other reservations. */
export const envelopeWords = ({ envelope }: { envelope?: { amountUsd: string } | null }): string | undefined =>
  envelope ? `left for parts of an envelope of ${usd(envelope.amountUsd)}` : undefined;

/** The same of what is left: never more than there is. */
export const usdLeft = (text: string): string => usd(formatUsd(floorUsd(parseUsd(text), decimalsShown)));

/** A moment, to the minute, in UTC. */
export const when = (moment: string | null | undefined): string =>
  moment == null ? '–' : moment.slice(0, 16).replace('T', ' ');

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
  /** Left out where a terminal has no room for all: the last such first. `show` and --json have it. */
  extra?: boolean;
}

/** The terminal's, where there is one: what goes into a file or another program is never cut. */
const terminalChars = (): number | undefined => (process.stdout.isTTY ? process.stdout.columns : undefined);

/** Plain lines. Where a width is given they fit it: extra columns go, then what is longest is written on several lines. */
export function table<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  none: string,
  width = terminalChars(),
): string {
  if (rows.length === 0) return none;
  const cells = new Map(columns.map((column) => [column, rows.map((row) => printable(column.of(row)))]));
  const charsOf = (column: Column<T>): number =>
    Math.max(...[column.name, ...(cells.get(column) ?? [])].map((text) => [...text].length));
  const shown = fitting(columns, charsOf, width);
  const widths = shown.map(charsOf);
  if (width !== undefined)
    shorten(
      widths,
      width,
      shown.map(({ right = false }) => right),
    );
  const drawn = new Table({
    head: shown.map(({ name }) => name),
    colAligns: shown.map(({ right }) => (right ? 'right' : 'left')),
    style: { head: [], border: [] },
    ...(width === undefined
      ? {}
      : { colWidths: widths.map((chars) => chars + 2), wordWrap: true, wrapOnWordBoundary: false }),
  });
  rows.forEach((_row, at) => drawn.push(shown.map((column) => cells.get(column)?.[at] ?? '')));
  return drawn.toString();
}

/** A border and two blanks for each, and the last border. */
const sumOf = (widths: readonly number[]): number => widths.reduce((sum, chars) => sum + chars + 3, 1);

function fitting<T>(
  columns: readonly Column<T>[],
  charsOf: (column: Column<T>) => number,
  width: number | undefined,
): Column<T>[] {
  const shown = [...columns];
  while (width !== undefined && sumOf(shown.map(charsOf)) > width) {
    const last = shown.map(({ extra = false }) => extra).lastIndexOf(true);
    if (last < 0) break;
    shown.splice(last, 1);
  }
  return shown;
}

const idChars = 36;

/** Amounts and ids are written whole as long as anything else can give way: half an amount is another amount. */
function shorten(widths: number[], width: number, isAmount: readonly boolean[]): void {
  const isWhole = widths.map((chars, at) => chars === idChars || isAmount[at] === true);
  const longest = (mayGive: (chars: number, at: number) => boolean): number =>
    widths.reduce((found, chars, at) => (mayGive(chars, at) && chars > (widths[found] ?? 0) ? at : found), -1);
  while (sumOf(widths) > width) {
    const words = longest((chars, at) => !isWhole[at] && chars > 3);
    const at = words >= 0 ? words : longest((chars) => chars > 1);
    if (at < 0) return;
    widths[at] = (widths[at] ?? 1) - 1;
  }
}

/** What is said where a list has none: of whom, and whether less was asked for than all of them. */
export const noneOf = (what: string, whose: string, filters: object = {}): string =>
  `There are no ${what} of ${whose}${Object.values(filters).some((one) => one !== undefined) ? ' like that' : ''}.`;

/** What is said beneath a list that goes on. */
export const moreLines = (nextCursor: string | null): string[] =>
  nextCursor === null ? [] : [`There is more: --cursor ${nextCursor}`];

/** What the command found or did: as one JSON value, or as words. */
export function show(asJson: boolean, value: unknown, words: () => string): void {
  console.log(printable(asJson ? JSON.stringify(value) : words(), { lines: true }));
}

/** Labels as they are said to the command line. */
export const labelWords = (labels: Readonly<Record<string, string>> | null): string =>
  Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(', ');
