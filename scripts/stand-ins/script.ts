/**
 * What the stand-ins for models answer. It is a script, not a model: it writes one program that reads the attached file,
 * and then puts what the program printed into words. For the demonstration task the program answers its question; for any
 * other it profiles the file, and says that this is all that a stand-in can do.
 */

/** The file that ships with the repository, and the question about it. */
export const DEMO_FILE = 'examples/orders.csv';
export const DEMO_TASK =
  'Which region earned the most net revenue (paid orders minus refunds), which month was its best, and how many of its orders were refunded?';

export interface ScriptedReply {
  text: string;
  /** A program to run; absent when the text is the answer. */
  code?: string;
  /** Calls of other tools. */
  tools?: { name: string; input: Record<string, unknown> }[];
}

/** A message as the script reads it. */
export interface ScriptMessage {
  role: string;
  content: string | { type: string; text?: string; content?: unknown; is_error?: boolean; tool_use_id?: string }[];
}

const disclosure = "Note: this is a stand-in for a model's API. Its answers are scripted; no model was called.";

/** The next reply of a conversation. */
export function scriptedReply(messages: readonly ScriptMessage[]): ScriptedReply {
  const task = textOf(messages[0]);
  const result = lastToolResult(messages);
  if (result) return { text: answer(task, result) };
  const file = /^Attached file: (\S.*)$/m.exec(task)?.[1];
  if (file === undefined) {
    return { text: `${disclosure} It can only profile an attached CSV file, and none came with this task.` };
  }
  const program = task.includes(DEMO_TASK) ? demoProgram(file) : profileProgram(file);
  return { text: 'I will read the file with a program.', code: program };
}

function textOf(message: ScriptMessage | undefined): string {
  if (!message) return '';
  if (typeof message.content === 'string') return message.content;
  return message.content.map((block) => block.text ?? '').join('\n');
}

function lastToolResult(messages: readonly ScriptMessage[]): { output: string; isError: boolean } | undefined {
  const last = messages.at(-1);
  if (!last || typeof last.content === 'string') return undefined;
  const block = last.content.find((candidate) => candidate.type === 'tool_result');
  if (!block) return undefined;
  const output = typeof block.content === 'string' ? block.content : JSON.stringify(block.content ?? '');
  return { output, isError: block.is_error === true };
}

function answer(task: string, { output, isError }: { output: string; isError: boolean }): string {
  if (isError) return `The program failed, so there is no answer. It said: ${output.slice(0, 500)}\n\n${disclosure}`;
  try {
    const found = JSON.parse(output) as Record<string, unknown>;
    return `${task.includes(DEMO_TASK) ? demoAnswer(found) : profileAnswer(found)}\n\n${disclosure}`;
  } catch {
    return `The program printed: ${output.slice(0, 2_000)}\n\n${disclosure}`;
  }
}

function demoAnswer(found: Record<string, unknown>): string {
  const { region, netUsd, month, monthNetUsd, refunded, orders } = found as Record<string, string | number>;
  return (
    `${region} earned the most: $${netUsd} net. Its best month was ${month} with $${monthNetUsd}, and ${refunded} of its ` +
    `${orders} orders were refunded.`
  );
}

function profileAnswer(found: Record<string, unknown>): string {
  const columns = (found.columns ?? []) as string[];
  return (
    `The file has ${String(found.rows)} rows and ${columns.length} columns.\n${columns.map((line) => `- ${line}`).join('\n')}\n` +
    'Profiling a file is all that a stand-in can do with a task of your own.'
  );
}

/** Reads a CSV file into rows; quoted fields may hold commas, quotes and line breaks. */
const readCsv = (file: string): string => `
const fs = require('node:fs');
function parseCsv(text) {
  const rows = [];
  let row = [], field = '', quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') { field += '"'; i += 1; }
      else if (c === '"') quoted = false;
      else field += c;
    } else if (c === '"') quoted = true;
    else if (c === ',') { row.push(field); field = ''; }
    else if (c === '\\n') { row.push(field.replace(/\\r$/, '')); rows.push(row); row = []; field = ''; }
    else field += c;
  }
  if (field !== '' || row.length > 0) { row.push(field); rows.push(row); }
  return rows.filter((cells) => cells.length > 1 || cells[0] !== '');
}
const [header, ...rows] = parseCsv(fs.readFileSync(${JSON.stringify(file)}, 'utf8'));
`;

const demoProgram = (file: string): string => `${readCsv(file)}
const at = Object.fromEntries(header.map((name, index) => [name, index]));
// Cents, so that sums are exact.
const cents = (row) => Math.round(Number(row[at.unit_price_usd]) * 100) * Number(row[at.quantity]);
const regions = {};
for (const row of rows) {
  const region = (regions[row[at.region]] ??= { net: 0, orders: 0, refunded: 0, months: {} });
  const isRefund = row[at.status] === 'refunded';
  const net = isRefund ? -cents(row) : cents(row);
  region.orders += 1;
  if (isRefund) region.refunded += 1;
  region.net += net;
  const month = row[at.date].slice(0, 7);
  region.months[month] = (region.months[month] ?? 0) + net;
}
const best = (entries, value) => entries.sort((a, b) => value(b[1]) - value(a[1]) || (a[0] < b[0] ? -1 : 1))[0];
const [name, region] = best(Object.entries(regions), (r) => r.net);
const [month, net] = best(Object.entries(region.months), (n) => n);
const usd = (n) => (n / 100).toFixed(2);
console.log(JSON.stringify({ region: name, netUsd: usd(region.net), month, monthNetUsd: usd(net), refunded: region.refunded, orders: region.orders }));
`;

const profileProgram = (file: string): string => `${readCsv(file)}
const columns = header.map((name, index) => {
  const values = rows.map((row) => row[index] ?? '').filter((value) => value !== '');
  const numbers = values.map(Number);
  if (values.length > 0 && numbers.every((n) => Number.isFinite(n))) {
    const mean = numbers.reduce((sum, n) => sum + n, 0) / numbers.length;
    const [min, max] = numbers.reduce(([a, b], n) => [Math.min(a, n), Math.max(b, n)], [Infinity, -Infinity]);
    return name + ': number, ' + min + ' to ' + max + ', mean ' + Number(mean.toFixed(4));
  }
  const counts = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  const top = Object.entries(counts).sort((a, b) => b[1] - a[1]).slice(0, 3).map(([v, n]) => v + ' (' + n + ')');
  return name + ': text, ' + Object.keys(counts).length + ' different, most often ' + top.join(', ');
});
console.log(JSON.stringify({ rows: rows.length, columns }));
`;
