/** What was asked, said, run and printed, as words for a terminal. */
import type { Transcript } from '../client';
import { moreLines, printable } from './output';
import { inputLines } from './programs';

/** One block of what was said: text as it is, all else by what it is. */
function blockWords(block: unknown): string {
  const { type = 'block', text, name, input, content } = block as Record<string, unknown>;
  if (type === 'text') return String(text);
  if (type === 'tool_use') return [`[uses ${String(name)}]`, ...inputLines(input)].join('\n  ');
  if (type === 'tool_result') return `[its result: ${typeof content === 'string' ? content : JSON.stringify(content)}]`;
  return `[${String(type)}]`;
}

/** What was said in a run or a conversation. */
export const saidWords = ({ messages, nextCursor }: Pick<Transcript, 'messages' | 'nextCursor'>): string =>
  [...messages.map(({ role, content }) => `${role}: ${content.map(blockWords).join('\n')}`), ...moreLines(nextCursor)]
    .map((line) => printable(line, { lines: true }))
    .join('\n\n') || 'Nothing was said yet.';
