/**
 * What a request of Anthropic's Messages API can cost at most. Each of its fields is known here, or the request is refused: what nobody
 * knows may be billed apart. Texts are bounded by their bytes (docs/decisions/0045); images and files only their provider can count.
 */
import type { ModelPrice } from '../../../core/prices/prices';
import { dearestModifiers, type PlannedCall } from '../../../core/prices/pricing';
import { overheads, textTokensMax, valueTokensMax } from '../../../core/prices/token-bounds';
import { isRecord, type UsageModifiers } from '../../../core/prices/usage';
import { answerOf, checkFields, quoted, refuse, saidIn, unbounded } from '../unbounded';
import type { AskedCall } from '../wire';

/** Fields that cost what their tokens cost, and nothing apart. */
const plainFields = [
  'metadata',
  'output_config',
  'output_format',
  'stop_sequences',
  'temperature',
  'thinking',
  'tool_choice',
  'top_k',
  'top_p',
];
/** Fields that are looked at one by one. */
const readFields = [
  'cache_control',
  'context_management',
  'inference_geo',
  'max_tokens',
  'messages',
  'model',
  'service_tier',
  'speed',
  'stream',
  'system',
  'tools',
];

/** Tools that run at the client. Those that run at the provider are billed apart, or bring tokens that nobody can bound. */
const clientTools = /^(custom|(bash|text_editor|computer|memory)_\d{8})$/;
/** Instructions that come with a tool of the provider's own making. */
const builtInToolTokens = 1_024;

/** @throws ApiError for what nobody can bound, by its name. */
export function askedOf(body: Record<string, unknown>, price: ModelPrice): AskedCall {
  checkFields(body, [...plainFields, ...readFields]);
  const { isStream, maxOutputTokens } = answerOf(body, 'max_tokens');
  checkContextManagement(body.context_management);
  checkSources(body);
  const prompt = new PromptBound();
  prompt.system(body.system);
  prompt.messages(body.messages);
  prompt.tools(body.tools);
  for (const field of plainFields) if (body[field] != null) prompt.tokens += valueTokensMax(body[field]);
  return {
    maxOutputTokens,
    inputTokens: prompt.tokens,
    mustBeCounted: prompt.mustBeCounted,
    planned: { modifiers: modifiersOf(body, price), ...cacheWritesOf(body) },
    isStream,
  };
}

/** Fields by which its provider counts a prompt. */
const countedFields = [
  'model',
  'messages',
  'system',
  'tools',
  'tool_choice',
  'thinking',
  'output_config',
  'output_format',
  'context_management',
  'cache_control',
];

export const countedBody = (body: Record<string, unknown>): object =>
  Object.fromEntries(countedFields.flatMap((field) => (body[field] == null ? [] : [[field, body[field]]])));

/** Sources that come with the call. */
const ownSources: readonly unknown[] = ['base64', 'text', 'content'];

/**
 * What stands in a block is what is counted and what is called. What its provider fetches by an address may be another thing by then,
 * and a file that it keeps may be of anybody who uses the same account. What a model wrote for a tool is only text.
 * @throws ApiError by the name of what is found, however deep inside.
 */
export function checkSources({ messages, system }: Record<string, unknown>): void {
  for (let level: unknown[] = [messages, system]; level.length > 0;) {
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      if (isRecord(value)) checkSource(value);
      const isToolUse = isRecord(value) && typeof value.type === 'string' && /(^|_)tool_use$/.test(value.type);
      for (const [name, inner] of Object.entries(value)) if (!isToolUse || name !== 'input') next.push(inner);
    }
    level = next;
  }
}

function checkSource({ type, source, file_id: fileId }: Record<string, unknown>): void {
  if (type === 'container_upload') throw unbounded('A block of the type "container_upload"');
  if (fileId != null) throw unbounded('A file that the provider keeps (file_id)');
  const from = isRecord(source) ? source.type : type;
  if (isRecord(source) ? !ownSources.includes(from) : from === 'url' || from === 'file')
    throw unbounded(`A source of the type ${quoted(from)} does not come with the call (send it as base64 or text)`);
}

/** Clearing old results takes tokens away; a compaction is a call of its own inside the call. */
function checkContextManagement(value: unknown): void {
  if (value == null) return;
  const edits = isRecord(value) ? (value.edits ?? []) : undefined;
  if (!Array.isArray(edits)) throw refuse('context_management.edits: must be a list.');
  for (const edit of edits as unknown[]) {
    const type = isRecord(edit) ? saidIn(edit.type) : '';
    if (!/^clear_\w+$/.test(type)) throw unbounded(`context_management: an edit of the type ${quoted(type)}`);
  }
}

function modifiersOf(body: Record<string, unknown>, price: ModelPrice): UsageModifiers {
  const { service_tier: tier, speed, inference_geo: geo } = body;
  if (tier != null && tier !== 'auto' && tier !== 'standard_only') throw unbounded(`The service_tier ${quoted(tier)}`);
  return {
    // What is left open follows the account's defaults, at their prices.
    ...(tier === 'standard_only' ? {} : dearestModifiers(price, 'serviceTier')),
    ...(speed == null || speed === 'standard' ? {} : { speed: saidIn(speed) }),
    ...(geo == null ? dearestModifiers(price, 'inferenceGeo') : geo === 'global' ? {} : { inferenceGeo: saidIn(geo) }),
  };
}

/** The longest lifetime that a cache is asked for, wherever it is asked. */
function cacheWritesOf(body: Record<string, unknown>): Pick<PlannedCall, 'cacheWriteTtl'> {
  let found: '5m' | '1h' | undefined;
  for (let level: unknown[] = [body]; level.length > 0;) {
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      const control = isRecord(value) && Object.hasOwn(value, 'cache_control') ? value.cache_control : undefined;
      if (control != null) {
        const { ttl = '5m' } = isRecord(control) ? control : {};
        found = ttl === '5m' ? (found ?? '5m') : '1h';
      }
      for (const inner of Object.values(value)) next.push(inner);
    }
    level = next;
  }
  return found === undefined ? {} : { cacheWriteTtl: found };
}

class PromptBound {
  tokens: number = overheads.promptTokens;
  mustBeCounted = false;

  system(value: unknown): void {
    if (value != null) this.content(value, 'system');
  }

  messages(value: unknown): void {
    if (!Array.isArray(value) || value.length === 0) throw refuse('messages: at least one message is needed.');
    for (const message of value as unknown[]) {
      if (!isRecord(message)) throw refuse('messages: each must be an object.');
      const { content, ...rest } = message;
      this.tokens += overheads.messageTokens + valueTokensMax(rest);
      this.content(content, 'messages');
    }
  }

  tools(value: unknown): void {
    if (value == null) return;
    if (!Array.isArray(value)) throw refuse('tools: must be a list.');
    if (value.length > 0) this.tokens += overheads.toolsTokens;
    for (const tool of value as unknown[]) {
      if (!isRecord(tool)) throw refuse('tools: each must be an object.');
      const { type = 'custom', name = '', description = '', ...rest } = tool;
      if (type !== null && !clientTools.test(saidIn(type)))
        throw unbounded(`The tool ${quoted(type)} runs at the provider`);
      const isBuiltIn = type !== null && type !== 'custom';
      this.tokens += overheads.toolTokens + (isBuiltIn ? builtInToolTokens : 0) + textTokensMax(saidIn(name));
      this.tokens += textTokensMax(saidIn(description)) + valueTokensMax(rest);
    }
  }

  private content(value: unknown, where: string): void {
    if (typeof value === 'string') this.tokens += overheads.blockTokens + textTokensMax(value);
    else if (Array.isArray(value)) for (const block of value as unknown[]) this.block(block, where);
    else throw refuse(`${where}: content must be a text or a list of blocks.`);
  }

  private block(block: unknown, where: string): void {
    if (!isRecord(block)) throw refuse(`${where}: each block must be an object.`);
    const { type } = block;
    this.tokens += overheads.blockTokens;
    if (type === 'text') {
      const { text, ...rest } = block;
      this.tokens += textTokensMax(saidIn(text)) + valueTokensMax(rest);
    } else if (type === 'tool_result') {
      const { content, ...rest } = block;
      this.tokens += 128 + valueTokensMax(rest);
      if (content != null) this.content(content, where);
    } else if (type === 'tool_use' || type === 'thinking' || type === 'redacted_thinking') {
      this.tokens += valueTokensMax(block);
    } else if (type === 'document' && isRecord(block.source) && block.source.type === 'text') {
      this.tokens += textTokensMax(saidIn(block.source.data)) + valueTokensMax({ ...block, source: {} });
    } else {
      this.mustBeCounted = true;
    }
  }
}
