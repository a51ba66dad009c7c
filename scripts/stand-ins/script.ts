/**
 * What the stand-ins for models answer. It is a script, not a model: it writes one program that reads the attached file,
 * and then puts what the program printed into words. For the demonstration task the program answers its question; for any
 * other it profiles the file, and says that this is all that a stand-in can do. Tools of one's own it calls once where it is told to
 * (`use weather`), with arguments that their schema takes, and says what they answered.
 */
import { counted } from '../../core/counted';
import { argumentsFor, toolsToUse, type OfferedTool } from './offered-tools';
import { demoProgram, profileProgram } from './programs';
import type { ScriptMessage } from './script-message';

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

const disclosure = "Note: this is a stand-in for a model's API. Its answers are scripted; no model was called.";

/** The next reply of a conversation. */
export function scriptedReply(
  messages: readonly ScriptMessage[],
  { callsNoTools = false, tools = [] }: { callsNoTools?: boolean; tools?: readonly OfferedTool[] } = {},
): ScriptedReply {
  const own = toolsToUse(messages, tools);
  if (own.results.length > 0 || (own.tools.length > 0 && !callsNoTools)) return useOf(own);
  const task = textOf(messages[0]);
  const search = /\bfind (\d+) facts about ([^.\n]+)/i.exec(task);
  if (search) return nextOfSearch(messages, { wanted: Number(search[1]), about: search[2] ?? '', callsNoTools });
  const result = lastToolResult(messages);
  if (result) return { text: answer(task, result) };
  const file = /^Attached file: (\S.*)$/m.exec(task)?.[1];
  if (file === undefined) {
    return { text: `${disclosure} It can only profile an attached CSV file, and none came with this task.` };
  }
  const program = task.includes(DEMO_TASK) ? demoProgram(file) : profileProgram(file);
  return { text: 'I will read the file with a program.', code: program };
}

/** Calls each once, and then tells what they answered. */
function useOf({ tools, results }: ReturnType<typeof toolsToUse>): ScriptedReply {
  const names = tools.map(({ name }) => name).join(' and ');
  if (results.length > 0)
    return { text: `I used ${names}, which answered: ${results.join('\n').slice(0, 2_000)}\n\n${disclosure}` };
  return { text: `I use ${names}.`, tools: tools.map(({ name, schema }) => ({ name, input: argumentsFor(schema) })) };
}

/** A fact a program, each another one that nobody knows before; told as many as there are in the prompt. */
function nextOfSearch(
  messages: readonly ScriptMessage[],
  { wanted, about, callsNoTools }: { wanted: number; about: string; callsNoTools: boolean },
): ScriptedReply {
  const found = messages.flatMap(({ content }) =>
    typeof content === 'string'
      ? []
      : content.flatMap(({ type, content: said }) =>
          type === 'tool_result' ? (JSON.stringify(said).match(/fact \d+ is \d+/g) ?? []) : [],
        ),
  );
  if (callsNoTools || found.length >= wanted) {
    const missing = wanted - found.length;
    const rest = missing > 0 ? ` ${missing} of ${wanted} are missing.` : '';
    return { text: `About ${about}: ${found.join(', ') || 'nothing was found'}.${rest}\n\n${disclosure}` };
  }
  const next = found.length + 1;
  const code = `console.log('fact ${next} is ' + Math.floor(Math.random() * 1e9) + ' '.repeat(${next} % 3) + '.'.repeat(400));`;
  return { text: `I look for fact ${next}.`, code };
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
  const { kind, rows = 0, words = 0, columns = [] } = found as Partial<Profile>;
  const whole = {
    empty: 'The file is empty.',
    text: `The file is no table. It has ${counted(rows, 'line')} of text with ${counted(words, 'word')}.`,
  }[kind ?? ''];
  const size = `The file has ${counted(rows, 'row')} and ${counted(columns.length, 'column')}${kind ? `, ${kind}` : ''}.`;
  const lines = [whole ?? size, ...columns.map((line) => `- ${line}`)];
  return `${lines.join('\n')}\nProfiling a file is all that a stand-in can do with a task of your own.`;
}

/** What the program that profiles a file prints. */
interface Profile {
  /** How its columns are told apart, where that is not by commas; empty or text where it has none. */
  kind: string;
  rows: number;
  words: number;
  columns: string[];
}
