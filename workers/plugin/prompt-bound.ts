/**
 * How many tokens the prompt of an AI SDK call has at most, told from its bytes (docs/decisions/0045-estimate.md). Images and files have
 * no bound in their bytes: each counts as what the plugin is told that one of its agents has at most.
 */
import { overheads, textTokensMax, valueTokensMax } from '../../core/prices/token-bounds';
import { isRecord } from '../../core/prices/usage';
import { storedId, toolsWithin } from './prompt-options';
import { refused, unbounded } from './refused';

/** Tools of Anthropic's making that run at the agent's side; each comes with instructions. */
const clientTools = /^anthropic\.(bash|text_editor|computer|memory)_\d{8}$/;
const builtInToolTokens = 1_024;
/** Around what a tool answered. */
const resultTokens = 128;

export interface PromptTerms {
  /** The most that one image or file of the prompt comes to; without it a prompt with one is refused. */
  fileTokensMax?: number | undefined;
  /** What a thought comes to at most that stands at the provider: as much as an answer. */
  storedThoughtTokens: number;
  /** What another part of an answer comes to that is sent by its name alone: none is where the call says that nothing is stored. */
  storedPartTokens: number;
  /** Options of messages, parts and tools beside those that are known. */
  vouchedFor: readonly string[];
}

/** What is known of the message that a part stands in. */
interface PartTerms extends PromptTerms {
  role: unknown;
  /** A text or a thought in several parts is sent by its name once. */
  sent: Set<string>;
}

/** A tool of OpenAI's making whose calls are sent by their names, whoever runs them. */
const namedCall = 'programmatic_tool_calling';

const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);
const textIn = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? ''));

/** @throws ApplicationFailure for what nobody can bound, by its name. */
export function promptTokensMax(options: Record<string, unknown>, terms: PromptTerms): number {
  const { prompt, tools, ...rest } = options;
  if (!Array.isArray(prompt)) throw refused('invalid_request', 'prompt: must be a list. No call was made.');
  const messages = (prompt as unknown[]).reduce<number>((sum, message) => sum + messageTokens(message, terms), 0);
  // An answer by a schema may be asked for as a tool.
  return overheads.promptTokens + overheads.toolsTokens + messages + toolsTokens(tools, terms) + valueTokensMax(rest);
}

function toolsTokens(tools: unknown, terms: PromptTerms): number {
  let tokens = 0;
  for (const tool of listOf(tools)) {
    if (!isRecord(tool)) throw refused('invalid_request', 'tools: each must be an object. No call was made.');
    const isBuiltIn = tool.type !== 'function';
    if (isBuiltIn && !clientTools.test(String(tool.id)))
      throw unbounded(`The tool ${JSON.stringify(tool.id ?? tool.type)} runs at the provider`);
    const { description = '', ...rest } = tool;
    toolsWithin(tool, terms.vouchedFor);
    tokens += overheads.toolTokens + (isBuiltIn ? builtInToolTokens : 0);
    tokens += textTokensMax(textIn(description)) + valueTokensMax(rest);
  }
  return tokens;
}

function messageTokens(message: unknown, terms: PromptTerms): number {
  if (!isRecord(message)) throw refused('invalid_request', 'prompt: each message must be an object. No call was made.');
  const { content, ...rest } = message;
  const own = overheads.messageTokens + valueTokensMax(rest) + addedTokens(message, terms);
  if (typeof content === 'string') return own + overheads.blockTokens + textTokensMax(content);
  const within = { ...terms, role: message.role, sent: new Set<string>() };
  return listOf(content).reduce<number>((sum, part) => sum + partTokens(part, within), own);
}

/** Of tools that come with it. */
const addedTokens = (of: unknown, terms: PromptTerms): number => toolsTokens(toolsWithin(of, terms.vouchedFor), terms);

function partTokens(part: unknown, terms: PartTerms): number {
  if (!isRecord(part)) throw refused('invalid_request', 'prompt: each part must be an object. No call was made.');
  const { type, ...rest } = part;
  const stands = overheads.blockTokens + overheads.messageTokens + addedTokens(part, terms) + storedTokens(part, terms);
  switch (type) {
    case 'text':
      return stands + textTokensMax(textIn(rest.text)) + valueTokensMax({ ...rest, text: '' });
    case 'reasoning':
      return stands + textTokensMax(textIn(rest.text)) + valueTokensMax(rest);
    case 'tool-call':
    case 'tool-approval-request':
    case 'tool-approval-response':
      return stands + valueTokensMax(rest);
    case 'tool-result':
      return stands + resultTokens + resultTokensMax(rest, terms);
    case 'file':
    case 'image':
      return stands + fileTokensOf(type, rest, terms);
    default:
      throw unbounded(`A part of the type ${JSON.stringify(type)}`);
  }
}

/** What is sent by its name stands at the provider: whatever it is, it is no longer than an answer. */
function storedTokens(part: Record<string, unknown>, terms: PartTerms): number {
  const { type } = part;
  const { role, sent } = terms;
  const id = storedId(part);
  const isOnce = (): boolean => {
    const name = `${String(type)} ${id}`;
    const isNew = id !== undefined && !sent.has(name);
    sent.add(name);
    return isNew;
  };
  if (type === 'reasoning') return isOnce() ? terms.storedThoughtTokens : 0;
  const isCalledThere = part.providerExecuted === true || part.toolName === namedCall;
  const isByName =
    (type === 'text' && role === 'assistant' && isOnce()) ||
    (type === 'tool-call' && id !== undefined && isCalledThere) ||
    (type === 'tool-result' && role === 'assistant') ||
    type === 'tool-approval-response';
  return isByName ? terms.storedPartTokens : 0;
}

function resultTokensMax({ output, ...rest }: Record<string, unknown>, terms: PromptTerms): number {
  const own = valueTokensMax(rest) + addedTokens(output, terms);
  if (!isRecord(output) || output.type !== 'content') return own + valueTokensMax(output);
  return listOf(output.value).reduce<number>((sum, item) => {
    const isText = isRecord(item) && item.type === 'text';
    const type = isRecord(item) ? String(item.type) : 'unknown';
    return (
      sum +
      overheads.blockTokens +
      addedTokens(item, terms) +
      (isText
        ? textTokensMax(textIn(item.text)) + valueTokensMax({ ...item, text: '' })
        : fileTokensOf(type, isRecord(item) ? item : {}, terms))
    );
  }, own);
}

/** What a file is, and what is said of it: a title and a context of a document go into the prompt. A text is no shorter than it is. */
function fileTokensOf(type: string, { data, ...rest }: Record<string, unknown>, terms: PromptTerms): number {
  const { mediaType } = rest;
  const most = fileTokens(type, terms);
  const isText =
    (typeof mediaType === 'string' && /^text(\/|$)/.test(mediaType)) || (isRecord(data) && data.type === 'text');
  return valueTokensMax(rest) + (isText ? Math.max(most, inTextOf(data)) : most);
}

/** As it stands, or as it is encoded. */
function inTextOf(data: unknown): number {
  const held = isRecord(data) ? (data.text ?? data.data ?? data) : data;
  if (typeof held !== 'string') return valueTokensMax(held);
  return Math.max(textTokensMax(held), textTokensMax(Buffer.from(held, 'base64').toString('utf8')));
}

function fileTokens(type: string, { fileTokensMax }: PromptTerms): number {
  if (fileTokensMax !== undefined) return fileTokensMax;
  throw unbounded(
    `A part of the type ${JSON.stringify(type)} (the plugin's fileTokensMax says how many tokens an image or a file comes to at most)`,
  );
}
