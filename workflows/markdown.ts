/**
 * Text as Temporal UI shows it: Markdown, where two dollar signs are a formula, in a narrow frame, without room between the columns
 * of a table.
 */
const gap = '\u00a0\u00a0';

/** The first column is text; the others are figures unless named as text. */
export function markdownTable(
  columns: readonly { name: string; isText?: boolean }[],
  rows: readonly (readonly string[])[],
): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => `${cell}${gap}`).join(' | ')} |`;
  return [
    line(columns.map(({ name }) => name)),
    `| ${columns.map(({ isText }) => (isText ? '---' : '---:')).join(' | ')} |`,
    ...rows.map(line),
  ].join('\n');
}

/** Amounts with their dollar signs spelt out. */
export const withoutDollarSigns = (text: string): string => text.replace(/\$(\d[\d.]*\d|\d)/g, '$1 USD');
