/**
 * The programs that the stand-ins for models write. They run in a sandbox without packages, so they read files by themselves: tables
 * as spreadsheets and databases export them, and JSON.
 */

/**
 * Reads a file into a header and rows, and says what kind it is where that is not plain CSV. Columns may be separated by commas, semicolons,
 * tabs or bars: by the one that gives most rows as many cells as the header has. Quoted cells may hold any of them, quotes and line breaks.
 */
const readTable = (file: string): string => `
const fs = require('node:fs');
const bytes = fs.readFileSync(${JSON.stringify(file)});
let text;
try { text = new TextDecoder('utf-8', { fatal: true }).decode(bytes); } catch { text = new TextDecoder('windows-1252').decode(bytes); }
text = text.replace(/\\r\\n?/g, '\\n');
function parse(text, mark) {
  const rows = [];
  let row = [], field = '', quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') { field += '"'; i += 1; }
      else if (c === '"') quoted = false;
      else field += c;
    } else if (c === '"' && field === '') quoted = true;
    else if (c === mark) { row.push(field); field = ''; }
    else if (c === '\\n') { row.push(field); rows.push(row); row = []; field = ''; }
    else field += c;
  }
  if (field !== '' || row.length > 0) { row.push(field); rows.push(row); }
  return rows.filter((cells) => cells.length > 1 || cells[0] !== '');
}
function records() {
  if (!/^\\s*[[{]/.test(text)) return;
  try {
    const all = JSON.parse(text);
    return ['JSON', Array.isArray(all) ? all : Object.values(all).find(Array.isArray) ?? [all]];
  } catch {}
  try { return ['JSON lines', text.split('\\n').filter((line) => line.trim()).map((line) => JSON.parse(line))]; } catch {}
}
const cell = (value) => value == null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
function table() {
  const json = records();
  if (json) {
    const [kind, all] = json;
    const items = all.map((one) => one !== null && typeof one === 'object' && !Array.isArray(one) ? new Map(Object.entries(one)) : new Map([['value', one]]));
    const header = [...new Set(items.flatMap((one) => [...one.keys()]))];
    return { kind, header, rows: items.map((one) => header.map((name) => cell(one.get(name)))) };
  }
  if (text.trim() === '') return { kind: 'empty', header: [], rows: [] };
  const named = /^sep=(.)\\n/i.exec(text);
  if (named) text = text.slice(named[0].length);
  let best = { mark: ',', fit: 0, width: 1 };
  for (const mark of named ? [named[1]] : [',', ';', '\\t', '|']) {
    const sample = parse(text.slice(0, 65536), mark).slice(0, 100);
    const width = sample[0]?.length ?? 0;
    const fit = width < 2 ? 0 : sample.filter((row) => row.length === width).length / sample.length;
    if (fit > best.fit || (fit === best.fit && fit > 0 && width > best.width)) best = { mark, fit, width };
  }
  if (best.fit < 0.5 && !/\\.(csv|tsv|tab)$/i.test(${JSON.stringify(file)})) return { kind: 'text', header: [], rows: [] };
  const [header = [], ...rows] = parse(text, best.mark);
  return { kind: { ';': 'separated by semicolons', '\\t': 'separated by tabs', '|': 'separated by bars' }[best.mark] ?? '', header, rows };
}
const { kind, header, rows } = table();
`;

/** Answers the example's question. */
export const demoProgram = (file: string): string => `${readTable(file)}
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

/** Says what each column holds. */
export const profileProgram = (file: string): string => `${readTable(file)}
const short = (value) => { const line = value.replace(/\\s+/g, ' ').trim(); return line.length > 60 ? line.slice(0, 59) + '…' : line; };
// Where cells are not separated by commas, a comma may be decimal.
const commas = !kind.startsWith('JSON') && kind !== '';
function numberOf(value) {
  if (commas && /^\\s*-?(\\d+|\\d{1,3}(\\.\\d{3})+),\\d+\\s*$/.test(value)) return Number(value.replaceAll('.', '').replace(',', '.'));
  return value.trim() === '' ? NaN : Number(value);
}
const columns = header.map((title, index) => {
  const name = short(title) || 'column ' + (index + 1);
  const values = rows.map((row) => row[index] ?? '').filter((value) => value !== '');
  if (values.length === 0) return name + ': empty';
  const numbers = values.map(numberOf);
  if (numbers.every((n) => Number.isFinite(n))) {
    const mean = numbers.reduce((sum, n) => sum + n, 0) / numbers.length;
    const [min, max] = numbers.reduce(([a, b], n) => [Math.min(a, n), Math.max(b, n)], [Infinity, -Infinity]);
    return name + ': number, ' + min + ' to ' + max + ', mean ' + Number(mean.toFixed(4));
  }
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([v, n]) => short(v) + ' (' + n + ')');
  return name + ': text, ' + counts.size + ' different, most often ' + top.join(', ');
});
const isText = kind === 'text';
const size = isText ? text.trimEnd().split('\\n').length : rows.length;
console.log(JSON.stringify({ kind, rows: size, words: isText ? text.trim().split(/\\s+/).length : 0, columns }));
`;
