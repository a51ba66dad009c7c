/** What a stand-in for a model answers to what was asked of it: thoughts, words and calls of tools, cut where a model's would be. */
import { createHash, randomUUID } from 'node:crypto';
import type { ModelKnobs } from './knobs';
import { tokensOf, type CacheCounts } from './prompt-cache';
import { offeredTools } from './offered-tools';
import { scriptedReply, type ScriptedReply } from './script';
import type { ScriptMessage } from './script-message';

/** What an answer is made from. */
export interface Wanted {
  messages: ScriptMessage[];
  maxTokens: number;
  /** Those that may be called, as the request has them. */
  tools?: unknown;
  /** Tools are named and must not be called. */
  callsNoTools?: boolean;
  /** How many tokens it thinks before it answers; none unless said. */
  thinksTokens?: number;
  /** Texts before which the answer ends. */
  stops?: readonly string[];
}

/** The whole answer. One longer than was allowed is cut, as a model's would be. */
export interface Reply {
  text: string;
  toolUses: { id: string; name: string; input: Record<string, unknown> }[];
  isCut: boolean;
  isRefusal: boolean;
  endedAs?: string;
  /** The text before which it ended. */
  stoppedAt?: string;
  /** Of the output. */
  thoughtTokens: number;
  inputTokens: number;
  /** Of them, what a cache took part in. */
  cached: CacheCounts;
  outputTokens: number;
}

export const codeHash = (code: string): string => createHash('sha256').update(code).digest('hex');

/** A token is about four characters of English, as the providers document it, and about two bytes of what is not ASCII. */
export const tokensIn = (value: unknown): number => tokensOf(JSON.stringify(value ?? ''));

/** @param emittedCode where the program is noted that the answer has, if it has one. */
export function replyTo(
  { messages, tools, maxTokens, callsNoTools = false, thinksTokens = 0, stops = [] }: Wanted,
  knobs: ModelKnobs,
  emittedCode: Set<string>,
): Omit<Reply, 'inputTokens' | 'cached'> {
  const fixed = (callsNoTools ? knobs.lastReply : undefined) ?? knobs.replies.shift() ?? knobs.replyTo?.(messages);
  const script = (): ScriptedReply => scriptedReply(messages, { callsNoTools, tools: offeredTools(tools) });
  const wants = fixed ? { ...fixed, text: fixed.text ?? '' } : script();
  const reply: ScriptedReply = callsNoTools ? { text: wants.text } : wants;
  // Thoughts come first, and take what the answer then has to do without.
  const thoughtTokens = Math.min(thinksTokens, maxTokens);
  const roomTokens = maxTokens - thoughtTokens;
  const wanted = tokensIn(reply.text) + (reply.code === undefined ? 0 : tokensIn(reply.code) + 20);
  const isCut = wanted > roomTokens;
  const written = isCut ? reply.text.slice(0, roomTokens * 4) : reply.text;
  const stop = firstStop(written, stops);
  const isWhole = !isCut && stop === undefined;
  const uses = [
    ...(reply.code === undefined ? [] : [{ name: 'run_code', input: { code: reply.code } }]),
    ...(reply.tools ?? []),
  ];
  if (reply.code !== undefined && isWhole) emittedCode.add(codeHash(reply.code));
  return {
    text: stop === undefined ? written : written.slice(0, stop.at),
    toolUses: isWhole ? uses.map((use) => ({ id: `call_stand_in_${randomUUID().slice(0, 8)}`, ...use })) : [],
    isCut: isCut && stop === undefined,
    ...(stop === undefined ? {} : { stoppedAt: stop.text }),
    isRefusal: fixed?.isRefusal ?? false,
    ...(fixed?.endedAs === undefined ? {} : { endedAs: fixed.endedAs }),
    thoughtTokens,
    outputTokens: thoughtTokens + Math.min(wanted, roomTokens),
  };
}

function firstStop(text: string, stops: readonly string[]): { at: number; text: string } | undefined {
  const found = stops.flatMap((stop) => (text.includes(stop) ? [{ at: text.indexOf(stop), text: stop }] : []));
  return found.sort((one, other) => one.at - other.at)[0];
}
