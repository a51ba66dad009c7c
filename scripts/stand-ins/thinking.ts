/**
 * How the stand-ins take what a request says of thinking and of how it is to be answered, and what they refuse of it: as the providers
 * document it in 2026-11 (Anthropic's "Extended thinking", "Effort" and migration guides; OpenAI's reasoning guide; Google's "Gemini
 * thinking" and "Thought signatures"). Models are told by their names, apart from the product's own list.
 */
import { createHash } from 'node:crypto';
import { isRecord } from '../../core/prices/usage';

/** Refused as the provider refuses. */
export interface Refused {
  status: 400;
  message: string;
}
/** What is made of it. */
export interface Thinks {
  thinksTokens: number;
  stops: readonly string[];
}

const refused = (message: string): Refused => ({ status: 400, message });
/** How long a thought is where nothing bounds it. */
const thoughtTokens = 100;

/** What a thought is signed with: one that is sent back has to be as it came. */
const signatureOf = (thought: string): string =>
  `sig_stand_in_${createHash('sha256').update(`stand-in ${thought}`).digest('base64url')}`;

/** A thought in words, with its signature. */
export function thoughtOf(tokens: number): { thinking: string; signature: string } {
  const thinking = `I think about it, in ${tokens} tokens.`;
  return { thinking, signature: signatureOf(thinking) };
}
const isSigned = (thought: string, signature: unknown): boolean => signature === signatureOf(thought);

const blocksOf = (message: unknown): Record<string, unknown>[] =>
  isRecord(message) && Array.isArray(message.content) ? (message.content as unknown[]).filter(isRecord) : [];

/** Whether each object of a schema allows only the fields that it requires. */
function isClosed(schema: unknown): boolean {
  if (Array.isArray(schema)) return schema.every(isClosed);
  if (!isRecord(schema)) return true;
  const { type, properties, required, additionalProperties: others } = schema;
  const names = isRecord(properties) ? Object.keys(properties) : [];
  if (type === 'object' && (others !== false || !names.every((name) => (required as unknown[])?.includes(name))))
    return false;
  return Object.values(schema).every(isClosed);
}

/** Of Anthropic's Messages API. */
export function thinkingAtAnthropic(model: string, body: Record<string, unknown>, maxTokens: number): Thinks | Refused {
  const { thinking, output_config: config, temperature, stop_sequences: stops = [], messages = [] } = body;
  const { type, budget_tokens: budget } = isRecord(thinking) ? thinking : {};
  const { effort } = isRecord(config) ? config : {};
  const isNew = /^claude-(opus-4-[78]|[a-z]+-[5-9])/.test(model);
  const isAdaptive = isNew || /^claude-(opus|sonnet)-4-6/.test(model);
  if (type === 'enabled' && isNew)
    return refused('"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive".');
  if (type === 'adaptive' && !isAdaptive) return refused('adaptive thinking is not supported on this model');
  if (type === 'enabled' && !(Number(budget) >= 1_024))
    return refused('thinking.enabled.budget_tokens: Input should be greater than or equal to 1024');
  if (type === 'enabled' && maxTokens > 0 && Number(budget) >= maxTokens)
    return refused('`max_tokens` must be greater than `thinking.budget_tokens`.');
  if (effort != null && !isAdaptive && !/^claude-opus-4-5/.test(model))
    return refused('This model does not support the effort parameter.');
  if (effort === 'xhigh' && !isNew) return refused('This model does not support effort level "xhigh".');
  const thinks = type === 'enabled' || type === 'adaptive';
  if (temperature != null && temperature !== 1 && (isNew || thinks))
    return refused('`temperature` may only be set to 1 when thinking is enabled, or on this model.');
  const { format } = isRecord(config) ? config : {};
  if (format != null && /^claude-(3|(opus|sonnet)-4(-[01])?(-20|$))/.test(model))
    return refused('This model does not support output_config.format.');
  if (isRecord(format) && !isClosed(format.schema))
    return refused("output_config.format.schema: For 'object' type, 'additionalProperties' must be set to false");
  const wrong = (messages as unknown[])
    .flatMap(blocksOf)
    .some(({ type: of, thinking: thought, signature }) => of === 'thinking' && !isSigned(String(thought), signature));
  if (wrong) return refused('Invalid `signature` in `thinking` block');
  const said = (messages as unknown[]).map((message) => ({
    role: isRecord(message) && message.role,
    blocks: blocksOf(message),
  }));
  if (said.some(({ role, blocks }) => role === 'assistant' && blocks.at(-1)?.type === 'thinking'))
    return refused('The final block in an assistant message cannot be `thinking`.');
  const turn = said.slice(
    said.findLastIndex(({ role, blocks }) => role === 'user' && !blocks.some((block) => block.type === 'tool_result')),
  );
  const [begin] = turn.filter(({ role }) => role === 'assistant');
  if (type === 'enabled' && begin && begin.blocks[0]?.type !== 'thinking')
    return refused('Expected `thinking` or `redacted_thinking`, but found `tool_use`.');
  return {
    thinksTokens: thinks ? Math.min(thoughtTokens, Number(budget ?? thoughtTokens)) : 0,
    stops: stops as string[],
  };
}

/** Of OpenAI's Responses API. */
export function thinkingAtOpenAi(model: string, body: Record<string, unknown>): Thinks | Refused {
  const { reasoning, temperature, text, input, include } = body;
  const { effort } = isRecord(reasoning) ? reasoning : {};
  const thinks = !/^gpt-[34]/.test(model);
  if (effort != null && !thinks) return refused("Unsupported parameter: 'reasoning.effort' is not supported.");
  if (effort === 'none' && /^(o\d|gpt-5(-|$))/.test(model)) return refused("Unsupported value: 'none'");
  if (effort === 'xhigh' && /^(o\d|gpt-5(\.1)?(-|$))/.test(model)) return refused("Unsupported value: 'xhigh'");
  if (temperature != null && thinks && effort !== 'none')
    return refused("Unsupported parameter: 'temperature' is not supported with this model.");
  const { format } = isRecord(text) ? text : {};
  if (isRecord(format) && format.strict === true && !isClosed(format.schema))
    return refused("Invalid schema for response_format 'answer': 'required' has to name every key in properties.");
  const items = Array.isArray(input) ? (input as unknown[]).filter(isRecord) : [];
  if (items.some(({ type, encrypted_content: kept }) => type === 'reasoning' && !String(kept).startsWith('enc_')))
    return refused('The encrypted content of a reasoning item could not be verified.');
  if (!thinks && Array.isArray(include) && include.includes('reasoning.encrypted_content'))
    return refused('Encrypted content is not supported with this model.');
  return { thinksTokens: effort == null || effort === 'none' ? 0 : thoughtTokens, stops: [] };
}

/** An item of OpenAI's that stands for a thought. */
export const reasoningItem = (id: string): Record<string, unknown> => ({
  type: 'reasoning',
  id: `rs_stand_in_${id}`,
  summary: [],
  encrypted_content: `enc_${id}`,
});

/** Of Gemini's generateContent. */
export function thinkingAtGoogle(
  model: string,
  { config, contents, tools }: { config: unknown; contents: readonly unknown[]; tools: unknown },
): Thinks | Refused {
  const { thinkingConfig, stopSequences: stops = [], responseMimeType: mime } = isRecord(config) ? config : {};
  if (mime === 'application/json' && Array.isArray(tools) && tools.length > 0 && /^gemini-[12]/.test(model))
    return refused("Function calling with a response mime type: 'application/json' is unsupported");
  const { thinkingBudget: budget, thinkingLevel: level } = isRecord(thinkingConfig) ? thinkingConfig : {};
  if (budget != null && level != null)
    return refused('You can only set only one of thinking budget and thinking level.');
  if (level != null && !/^gemini-[3-9]/.test(model)) return refused('Thinking level is not supported for this model.');
  if ((budget ?? level) != null && /^gemini-(1|2\.0)/.test(model))
    return refused('Thinking is not enabled for this model.');
  if (Number(budget ?? 0) > 32_768) return refused('The thinking budget is invalid.');
  if ((stops as unknown[]).length > 5) return refused('Only up to 5 stop sequences are supported.');
  const since = contents.findLastIndex((content) => isAsked(content));
  const called = contents
    .slice(since)
    .map((content) => partsOf(content).find(({ functionCall }) => functionCall != null));
  const signatures = [signatureOf('call'), 'skip_thought_signature_validator'];
  if (/^gemini-[3-9]/.test(model) && called.some((part) => part && !signatures.includes(String(part.thoughtSignature))))
    return refused('Function call is missing a thought_signature in functionCall parts.');
  const thinksTokens = level != null ? thoughtTokens : Math.min(thoughtTokens, Math.max(0, Number(budget ?? 0)));
  return { thinksTokens, stops: stops as string[] };
}

/** What a call of a tool of Gemini's is signed with, where it thought. */
export const callSignature = (): string => signatureOf('call');

const partsOf = (content: unknown): Record<string, unknown>[] =>
  isRecord(content) && Array.isArray(content.parts) ? (content.parts as unknown[]).filter(isRecord) : [];
/** Whether it is a person's, and no answer of a tool. */
const isAsked = (content: unknown): boolean =>
  isRecord(content) && content.role === 'user' && partsOf(content).some(({ text }) => typeof text === 'string');
