/**
 * What a request of OpenAI's Chat Completions API can cost at most. Each of its fields is known here, or the request is refused: what
 * nobody knows may be billed apart.
 */
import type { ModelPrice } from '../../../../core/prices/prices';
import { overheads, textTokensMax, valueTokensMax } from '../../../../core/prices/token-bounds';
import { searchesByItself } from '../../../../core/prices/unbounded-models';
import { isRecord, MAX_COUNT } from '../../../../core/prices/usage';
import type { ModelAccount } from '../../../../temporal/model-accounts';
import { answerOf, checkFields, type AnswerLimit, otherTool, quoted, refuse, saidIn, unbounded } from '../../unbounded';
import type { AskedCall } from '../../wire';
import { boundOfContent } from '../parts';
import { checkSources } from '../sources';
import { plannedOf } from '../tiers';

/** Fields that cost what their tokens cost, and nothing apart. */
const plainFields = [
  ...['frequency_penalty', 'function_call', 'logit_bias', 'logprobs', 'metadata', 'parallel_tool_calls'],
  ...['presence_penalty', 'prompt_cache_key', 'prompt_cache_options', 'prompt_cache_retention'],
  ...['reasoning_effort', 'response_format'],
  ...['safety_identifier', 'seed', 'stop', 'store', 'stream_options', 'temperature', 'tool_choice', 'top_logprobs'],
  ...['top_p', 'user', 'verbosity'],
];
/** Fields that are looked at one by one. */
const readFields = [
  ...['functions', 'max_completion_tokens', 'max_tokens', 'messages', 'modalities', 'model', 'n', 'service_tier'],
  ...['stream', 'tools'],
];

/** Tools that run at the client, which are all that there are here; and the functions of before them. */
const clientTools = ['function', 'custom'];
/** What a message is made of. */
const contentKinds = { field: 'messages', said: ['text', 'refusal'], counted: ['image_url', 'file'] };
/** So many answers to one prompt is the most that its provider takes. */
const choicesMax = 128;

/** @throws ApiError for what nobody can bound, by its name. */
export function askedOf(body: Record<string, unknown>, price: ModelPrice, account: ModelAccount): AskedCall {
  checkFields(body, [...plainFields, ...readFields]);
  const limit = answersOf(body, price.model);
  if (searchesByItself(price.model)) throw unbounded(`The model ${quoted(price.model)} searches by itself`);
  const bound = new PromptBound();
  bound.messages(body.messages);
  bound.tools(body.tools, 'tools');
  bound.tools(body.functions, 'functions');
  for (const field of plainFields) if (body[field] != null) bound.tokens += valueTokensMax(body[field]);
  return {
    ...limit,
    inputTokens: bound.tokens,
    mustBeCounted: bound.mustBeCounted,
    planned: plannedOf(body, price, account),
  };
}

/** How long all answers may be together. */
function answersOf(body: Record<string, unknown>, model: string): AnswerLimit & { isStream: boolean } {
  const given = ['max_completion_tokens', 'max_tokens'].filter((field) => body[field] != null);
  const each = (given.length === 0 ? ['max_completion_tokens'] : given).map((field) => answerOf(body, field, model));
  const isStream = each.some(({ isStream: is }) => is);
  const { n, stream_options: options, modalities } = body;
  if (n != null && !(Number.isInteger(n) && (n as number) >= 1 && (n as number) <= choicesMax))
    throw refuse(`n: a whole number of 1 to ${choicesMax} is needed.`);
  // Each choice may be as long as one.
  const maxOutputTokens = Math.max(...each.map(({ maxOutputTokens: tokens }) => tokens)) * ((n as number | null) ?? 1);
  if (maxOutputTokens > MAX_COUNT) throw refuse('n: so many answers of that length are more than can be counted.');
  if (isStream && !(isRecord(options) && options.include_usage === true))
    throw refuse(
      'stream_options: a stream says what it used only where {"include_usage": true} is set here. Without it nobody would learn what it costs.',
    );
  if (modalities != null && !(Array.isArray(modalities) && modalities.every((one) => one === 'text')))
    throw unbounded('modalities other than "text"');
  const [{ openField } = {}] = each;
  return { maxOutputTokens, isStream, ...(openField === undefined ? {} : { openField }) };
}

class PromptBound {
  tokens: number = overheads.promptTokens;
  mustBeCounted = false;

  messages(value: unknown): void {
    if (!Array.isArray(value) || value.length === 0) throw refuse('messages: at least one message is needed.');
    checkSources(value);
    for (const message of value as unknown[]) {
      if (!isRecord(message)) throw refuse('messages: each must be an object.');
      const { content, ...rest } = message;
      if (rest.audio != null) throw unbounded('An audio that the provider keeps');
      this.tokens += overheads.messageTokens + valueTokensMax(rest);
      if (content != null) this.content(content);
    }
  }

  tools(value: unknown, field: 'tools' | 'functions'): void {
    if (value == null) return;
    if (!Array.isArray(value)) throw refuse(`${field}: must be a list.`);
    if (value.length > 0) this.tokens += overheads.toolsTokens;
    for (const tool of value as unknown[]) {
      const type = field === 'functions' ? 'function' : isRecord(tool) ? saidIn(tool.type) : '';
      if (!clientTools.includes(type)) throw unbounded(otherTool(type, clientTools));
      // As a text too: its description is one.
      this.tokens += overheads.toolTokens + Math.max(valueTokensMax(tool), textTokensMax(saidIn(tool)));
    }
  }

  private content(value: unknown): void {
    const { tokens, mustBeCounted } = boundOfContent(value, contentKinds);
    this.tokens += tokens;
    this.mustBeCounted ||= mustBeCounted;
  }
}
