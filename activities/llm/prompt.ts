/** What a model is shown of a run: the task or the messages, what was said and answered, older parts shortened or summed up. */
import { omitUndefined } from '../../core/omit-undefined';
import { storableText } from '../../core/storable';
import { readMoneyNotes, type MoneyNote } from '../../store/money-notes';
import type { Pool } from '../../store/pool';
import { readRunFile } from '../../store/run-files';
import { findRun, type Run, type RunKey } from '../../store/runs';
import { readCompactions, readTranscript, type TranscriptMessage } from '../../store/transcripts';
import { failure } from '../failures';
import { isWordless } from './answers';
import {
  attachmentLine,
  fileTypeOf,
  ownSchemaOf,
  settingsOf,
  systemPrompt,
  toolSpecsOf,
  type CodeLanguage,
} from './instructions';
import { knowsMoney } from './known-money';
import type { Block, Prompt, PromptMessage } from './model-provider';

/** A run as its model is to see it. */
export interface Context {
  run: Run;
  /** The messages that no summary stands for. */
  messages: readonly TranscriptMessage[];
  summary?: { throughSequence: number; text: string };
  /** Tool results up to this message are shortened. */
  shortenedThrough: number;
  /** The run's image or PDF, which its model is shown. */
  file?: Block;
  /** What the model was told of its money, in the order in which it was told. */
  notes: readonly MoneyNote[];
}

/** @throws ApplicationFailure `not_found` when there is none. */
export async function runOf(pool: Pool, key: RunKey): Promise<Run> {
  const run = await findRun(pool, key);
  if (!run) throw failure('not_found', `There is no run ${key.runId}. No call was made.`);
  return run;
}

export async function readContext(pool: Pool, key: RunKey): Promise<Context> {
  const [run, compactions] = await Promise.all([runOf(pool, key), readCompactions(pool, key)]);
  const [messages, notes, file] = await Promise.all([
    readTranscript(pool, { ...key, afterSequence: compactions.summary?.throughSequence ?? 0 }),
    knowsMoney(run) ? readMoneyNotes(pool, key) : [],
    shownFile(pool, run),
  ]);
  return { run, messages, notes, ...compactions, ...omitUndefined({ file }) };
}

async function shownFile(pool: Pool, run: Run): Promise<Block | undefined> {
  const mediaType = fileTypeOf(run);
  const found = mediaType === undefined ? undefined : await readRunFile(pool, run);
  if (mediaType === undefined || !found) return undefined;
  return { type: 'file', name: found.name, mediaType, data: found.content.toString('base64') };
}

export function promptOf(
  context: Context,
  languages: readonly CodeLanguage[],
  { isLast = false }: { isLast?: boolean | undefined } = {},
): Prompt {
  const { run, summary, messages, shortenedThrough, notes, file } = context;
  const opening: Block[] = [
    ...(file ? [file] : []),
    ...(run.type === 'task' ? [textBlock(`${run.task}${attachmentLine(run.fileName)}`)] : []),
    ...(summary ? [textBlock(`What was said and done so far, summed up:\n\n${summary.text}`)] : []),
  ];
  const notesAfter = (from: number, before: number): PromptMessage[] =>
    notes
      .filter(({ afterSequence }) => afterSequence >= from && afterSequence < before)
      .map(({ text }) => ({ role: 'user', content: [textBlock(text)] }));
  const said = messages.flatMap(({ sequence, role, content }, index): PromptMessage[] => {
    const blocks = content as Block[];
    const next = messages[index + 1]?.sequence ?? Infinity;
    const message = { role, content: sequence <= shortenedThrough ? blocks.map(shortened) : blocks };
    return [message, ...notesAfter(sequence, next)];
  });
  // Of what was told before a summary the last still holds.
  const saidFirst = notesAfter(0, messages[0]?.sequence ?? Infinity).slice(summary ? -1 : 0);
  return {
    system: systemPrompt(run),
    tools: toolSpecsOf(run, languages),
    messages: wellFormed([{ role: 'user', content: opening }, ...saidFirst, ...said]),
    ...omitUndefined({ settings: settingsOf(run), answerSchema: ownSchemaOf(run) }),
    ...(summary !== undefined || shortenedThrough > 0 ? { isRetold: true as const } : {}),
    ...(isLast ? { callsNoTools: true as const } : {}),
  };
}

export const textBlock = (text: string): Block => ({ type: 'text', text });

/** A tool result longer than this is shortened when the context grows. */
const longResultChars = 2_000;
const headChars = 800;
const tailChars = 400;

export const isLong = (block: Block): boolean => block.type === 'tool_result' && block.content.length > longResultChars;

function shortened(block: Block): Block {
  if (block.type !== 'tool_result' || !isLong(block)) return block;
  const { content } = block;
  const left = content.length - headChars - tailChars;
  return {
    ...block,
    content: storableText(
      `${content.slice(0, headChars)}\n[${left} characters were left out here]\n${content.slice(-tailChars)}`,
    ),
  };
}

/**
 * Providers want turns that alternate, and one answer to each tool call before anything else is said. A turn that was
 * interrupted leaves calls without one; an answer to no call, and what says nothing, is left out, since a prompt that has one is refused for good.
 */
export function wellFormed(messages: readonly PromptMessage[]): PromptMessage[] {
  const formed: PromptMessage[] = [];
  for (const { role, content } of messages) {
    const last = formed.at(-1);
    const open = last?.role === 'assistant' ? callsIn(last.content) : [];
    if (role === 'assistant' && isNothingSaid(content)) continue;
    const said = content.filter((block) => block.type !== 'tool_result' || open.includes(block.tool_use_id));
    const answered = new Set(said.flatMap((block) => (block.type === 'tool_result' ? [block.tool_use_id] : [])));
    const missing = open.filter((id) => !answered.has(id)).map(notRun);
    if (role === 'user' || missing.length > 0) addTo(formed, 'user', [...missing, ...(role === 'user' ? said : [])]);
    if (role === 'assistant') addTo(formed, 'assistant', said);
  }
  const last = formed.at(-1);
  if (last?.role === 'assistant') addTo(formed, 'user', callsIn(last.content).map(notRun));
  return formed;
}

/** Thoughts without anything behind them, or blanks: a prompt that ends so, or has them in it, is refused for good. */
const isNothingSaid = (content: readonly Block[]): boolean => isWordless(content) && callsIn(content).length === 0;

const callsIn = (content: readonly Block[]): string[] =>
  content.flatMap((block) => (block.type === 'tool_use' ? [block.id] : []));

const notRun = (id: string): Block => ({
  type: 'tool_result',
  tool_use_id: id,
  content: 'It was not carried out: the turn ended before.',
  is_error: true,
});

/** Results come first in what the user says. */
function addTo(formed: PromptMessage[], role: PromptMessage['role'], content: Block[]): void {
  if (content.length === 0) return;
  const last = formed.at(-1);
  const isJoined = last?.role === role;
  const all = isJoined ? [...last.content, ...content] : content;
  const ordered = [
    ...all.filter((block) => block.type === 'tool_result'),
    ...all.filter((block) => block.type !== 'tool_result'),
  ];
  if (isJoined) last.content = ordered;
  else formed.push({ role, content: ordered });
}
