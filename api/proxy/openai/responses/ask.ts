/**
 * What a request of OpenAI's Responses API can cost at most. Each of its fields is known here, or the request is refused: what nobody
 * knows may be billed apart, or bring what was stored before.
 */
import type { ModelPrice } from '../../../../core/prices/prices';
import { overheads, textTokensMax, valueTokensMax } from '../../../../core/prices/token-bounds';
import { isRecord } from '../../../../core/prices/usage';
import type { ModelAccount } from '../../../../temporal/model-accounts';
import { answerOf, checkFields, otherTool, quoted, refuse, saidIn, unbounded } from '../../unbounded';
import type { AskedCall } from '../../wire';
import { boundOfContent } from '../parts';
import { checkSources } from '../sources';
import { plannedOf } from '../tiers';

/** Fields that cost what their tokens cost, and nothing apart. */
const plainFields = [
  ...['include', 'max_tool_calls', 'metadata', 'parallel_tool_calls', 'prompt_cache_key', 'prompt_cache_options'],
  ...['prompt_cache_retention'],
  ...['reasoning', 'safety_identifier', 'store', 'stream_options', 'temperature', 'text', 'tool_choice'],
  ...['top_logprobs', 'top_p', 'truncation', 'user'],
];
/** Fields that are looked at one by one. */
const readFields = [
  ...['background', 'input', 'instructions', 'max_output_tokens', 'model', 'service_tier', 'stream', 'tools'],
];

/** Tools that run at the client. */
const clientTools = ['function', 'custom'];
/** What a message, or what a tool answered, is made of. */
const contentKinds = {
  field: 'input',
  said: ['input_text', 'output_text', 'refusal'],
  counted: ['input_image', 'input_file'],
};
/** Items of what was said and called before, which hold all that they are. */
const plainItems = ['function_call', 'custom_tool_call', 'reasoning'];

/** @throws ApiError for what nobody can bound, by its name. */
export function askedOf(body: Record<string, unknown>, price: ModelPrice, account: ModelAccount): AskedCall {
  checkFields(body, [...plainFields, ...readFields]);
  const limit = answerOf(body, 'max_output_tokens', price.model);
  // Its answer comes to whoever asks for it later, and is billed meanwhile.
  if (body.background != null && body.background !== false) throw unbounded('A response in the background');
  checkReasoning(body.reasoning);
  const bound = new InputBound();
  bound.input(body.input);
  bound.tools(body.tools);
  bound.instructions(body.instructions);
  for (const field of plainFields) if (body[field] != null) bound.tokens += valueTokensMax(body[field]);
  return {
    ...limit,
    inputTokens: bound.tokens,
    mustBeCounted: bound.mustBeCounted,
    planned: plannedOf(body, price, account),
  };
}

/** Fields by which its provider counts a prompt. */
const countedFields = [
  ...['model', 'input', 'instructions', 'tools', 'tool_choice', 'text', 'reasoning'],
  ...['parallel_tool_calls', 'truncation'],
];

export const countedBody = (body: Record<string, unknown>): object =>
  Object.fromEntries(countedFields.flatMap((field) => (body[field] == null ? [] : [[field, body[field]]])));

/** @throws ApiError for what is not even counted, by its name. */
export function checkCounted(body: Record<string, unknown>): void {
  checkFields(body, countedFields);
  const bound = new InputBound();
  if (body.input != null) bound.input(body.input);
  bound.instructions(body.instructions);
  bound.tools(body.tools);
}

class InputBound {
  tokens: number = overheads.promptTokens;
  mustBeCounted = false;

  input(value: unknown): void {
    checkSources(value);
    if (typeof value === 'string')
      this.tokens += overheads.messageTokens + overheads.blockTokens + textTokensMax(value);
    else if (Array.isArray(value) && value.length > 0) for (const item of value as unknown[]) this.item(item);
    else throw refuse('input: a text, or a list of items, is needed.');
  }

  instructions(value: unknown): void {
    if (value == null) return;
    if (typeof value !== 'string') throw refuse('instructions: a text is needed.');
    this.tokens += overheads.blockTokens + textTokensMax(value);
  }

  tools(value: unknown): void {
    if (value == null) return;
    if (!Array.isArray(value)) throw refuse('tools: must be a list.');
    if (value.length > 0) this.tokens += overheads.toolsTokens;
    for (const tool of value as unknown[]) {
      const type = isRecord(tool) ? saidIn(tool.type) : '';
      if (!clientTools.includes(type)) throw unbounded(otherTool(type, clientTools));
      const { description = '', ...rest } = tool as Record<string, unknown>;
      this.tokens += overheads.toolTokens + textTokensMax(saidIn(description)) + valueTokensMax(rest);
    }
  }

  private item(item: unknown): void {
    if (!isRecord(item)) throw refuse('input: each item must be an object.');
    const { type = 'message' } = item;
    this.tokens += overheads.messageTokens + overheads.blockTokens;
    if (type === 'message') {
      const { content, ...rest } = item;
      this.tokens += valueTokensMax(rest);
      this.content(content);
    } else if (type === 'function_call_output' || type === 'custom_tool_call_output') {
      const { output, ...rest } = item;
      this.tokens += 128 + valueTokensMax(rest);
      this.content(output);
    } else if (plainItems.includes(saidIn(type))) {
      checkThoughts(item);
      this.tokens += valueTokensMax(item);
    } else {
      throw type === 'item_reference' ? ofTheAccount() : unbounded(`An item of the type ${quoted(type)}`);
    }
  }

  private content(value: unknown): void {
    const { tokens, mustBeCounted } = boundOfContent(value, contentKinds);
    this.tokens += tokens;
    this.mustBeCounted ||= mustBeCounted;
  }
}

/** Another mode than the standard may think several times over. */
function checkReasoning(value: unknown): void {
  const mode = isRecord(value) ? value.mode : undefined;
  if (mode != null && mode !== 'standard') throw unbounded(`reasoning.mode ${quoted(mode)}`);
}

/** What its provider has stored it has stored for all who use the account, so that an id may be another tenant's. */
const ofTheAccount = (): Error =>
  refuse(
    'An item that the provider keeps (item_reference) may be anybody’s who uses its account, so it is not passed on: have items sent with the call, by store: false (of the AI SDK: providerOptions: { openai: { store: false } }).',
  );

/** One that does not hold its thoughts is looked up by its id, among what the provider has stored for all who use the account. */
function checkThoughts({ type, id, encrypted_content: encrypted }: Record<string, unknown>): void {
  if (type === 'reasoning' && id != null && (typeof encrypted !== 'string' || encrypted === ''))
    throw unbounded(
      'A reasoning item without its encrypted_content (include: ["reasoning.encrypted_content"] asks for it)',
    );
}
