/** Rows as comma-separated values (RFC 4180), with a first line that names the columns. */
export function csv<K extends string>(columns: readonly K[], rows: readonly Partial<Record<K, unknown>>[]): string {
  return `${columns.join(',')}\r\n${csvLines(columns, rows)}`;
}

/** The same without the first line. */
export const csvLines = <K extends string>(
  columns: readonly K[],
  rows: readonly Partial<Record<K, unknown>>[],
): string => rows.map((row) => `${columns.map((column) => cell(row[column])).join(',')}\r\n`).join('');

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  const text = typeof value === 'string' ? value : typeof value === 'number' ? String(value) : JSON.stringify(value);
  // What a spreadsheet would take for a formula is shown as text. A negative amount is none: who sums the column has to find it.
  const isFormula = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) && !/^-[0-9]+([.][0-9]+)?$/.test(text);
  const shown = isFormula ? `'${text}` : text;
  return /[",\r\n]/.test(shown) ? `"${shown.replaceAll('"', '""')}"` : shown;
}
