/** What an agent wants a tool to do, as a person reads it: a program line by line, and whole. */
import { counted } from '../core/counted';

/** Of each tool the field that is a text of many lines; all else that it was given stands before that. */
const longFields = ['code', 'content', 'question'];

const inOneLine = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/**
 * The input of a tool in lines: first what is short, each by its name, then each text by lines of its own, indented. Nothing is
 * left out.
 */
export function inputLines(input: unknown): string[] {
  if (typeof input === 'string') return textLines(input);
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return [inOneLine(input ?? {})];
  const fields = Object.entries(input);
  const isLong = ([name, value]: [string, unknown]): boolean =>
    typeof value === 'string' && (longFields.includes(name) || value.includes('\n'));
  const short = fields.filter((field) => !isLong(field)).map(([name, value]) => `${name}: ${inOneLine(value)}`);
  const long = fields.filter(isLong);
  return [
    ...short,
    ...long.flatMap(([name, value]) => [
      ...(long.length > 1 || short.length > 0 ? [`${name}:`] : []),
      ...textLines(String(value)).map((line) => `  ${line}`),
    ]),
  ];
}

/** What a person is asked. */
export const questionOf = (input: unknown): string => String((input as { question?: unknown } | null)?.question);

/** How many characters of a line tell one program from another. */
const shownChars = 60;

/** The first line that says something, and how many more there are. */
export function inShort(input: unknown): string {
  const lines = inputLines(input).filter((line) => line.trim() !== '' && !/^\w+:$/.test(line));
  const [first = ''] = lines.map((line) => line.trim());
  const cut = first.length > shownChars ? `${first.slice(0, shownChars - 1)}…` : first;
  return lines.length > 1 ? `${cut} (and ${counted(lines.length - 1, 'line')} more)` : cut;
}

/** A text by its lines, whoever ended them how. */
const textLines = (text: string): string[] => text.replace(/\r?\n$/, '').split(/\r\n|[\r\n]/);
