/**
 * What a request of Gemini's generateContent can cost at most. Each of its fields is known here, or the request is refused: what nobody
 * knows may be billed apart, or bring what was stored before.
 */
import { geminiPageFactor } from '../../../core/prices/image-tokens';
import type { ModelPrice } from '../../../core/prices/prices';
import { overheads, textTokensMax, valueTokensMax } from '../../../core/prices/token-bounds';
import { answersBeyondText } from '../../../core/prices/unbounded-models';
import { isRecord, MAX_COUNT, type UsageModifiers } from '../../../core/prices/usage';
import { checkFields, limitIn, quoted, refuse, saidIn, unbounded } from '../unbounded';
import type { AskedCall, CountRequest } from '../wire';
import { inOneSpelling } from './names';
import { checkSources, ContentsBound, isHighResolution } from './parts';

/** Fields that cost what their tokens cost, and nothing apart. */
const plainFields = ['safetySettings', 'store', 'toolConfig'];
/** Fields that are looked at one by one. */
const readFields = ['contents', 'generationConfig', 'model', 'serviceTier', 'systemInstruction', 'tools'];

/** The same of how the answer is to be made. */
const plainConfig = [
  ...['_responseJsonSchema', 'enableEnhancedCivicAnswers', 'frequencyPenalty', 'logprobs', 'mediaResolution'],
  ...['presencePenalty', 'responseJsonSchema', 'responseLogprobs', 'responseMimeType', 'responseSchema', 'seed'],
  ...['stopSequences', 'temperature', 'topK', 'topP'],
];
const readConfig = ['candidateCount', 'maxOutputTokens', 'responseModalities', 'thinkingConfig'];
/** How it is to think: within the limit of the answer, whatever budget it has for that. */
const thinkingFields = ['includeThoughts', 'thinkingBudget', 'thinkingLevel'];

/** So many answers to one prompt is the most that its provider takes. */
const candidatesMax = 8;

/** What is counted beside them has room, and so has the margin of a count. */
const imageTokensMax = MAX_COUNT / 2;

export interface AskedContent extends Omit<AskedCall, 'isStream'> {
  /** How many answers. */
  candidates: number;
}

/** @throws ApiError for what nobody can bound, by its name. */
export function askedOf(sent: Record<string, unknown>, price: ModelPrice): AskedContent {
  const body = inOneSpelling(sent);
  if (body.cachedContent != null) throw unbounded('A cache that the provider keeps (cachedContent)');
  checkFields(body, [...plainFields, ...readFields]);
  if (answersBeyondText(price.model)) throw unbounded(`The model ${quoted(price.model)} answers with more than text`);
  const config = configIn(body);
  const candidates = candidatesOf(config);
  const { maxOutputTokens: each, ...limit } = limitIn(config, 'maxOutputTokens', price.model);
  const maxOutputTokens = each * candidates;
  if (maxOutputTokens > MAX_COUNT)
    throw refuse('candidateCount: so many answers of that length are more than can be counted.');
  const bound = contentsIn(body, price.model);
  let tokens = overheads.promptTokens + bound.tokens + toolTokensOf(body.tools) + valueTokensMax(config);
  for (const field of plainFields) if (body[field] != null) tokens += valueTokensMax(body[field]);
  return {
    ...limit,
    maxOutputTokens,
    inputTokens: tokens,
    mustBeCounted: bound.images + bound.documents > 0,
    planned: { modifiers: modifiersOf(body) },
    candidates,
  };
}

function contentsIn({ contents, systemInstruction }: Record<string, unknown>, model: string): ContentsBound {
  const bound = new ContentsBound(model);
  bound.contents(contents);
  if (typeof systemInstruction === 'string') bound.tokens += textTokensMax(systemInstruction);
  else if (systemInstruction != null) bound.content(systemInstruction, 'systemInstruction');
  if (bound.imageTokens > imageTokensMax) throw refuse('contents: so large images are more than can be counted.');
  return bound;
}

function configIn({ generationConfig: config }: Record<string, unknown>): Record<string, unknown> {
  if (config == null) return {};
  if (!isRecord(config)) throw refuse('generationConfig: must be an object.');
  checkFields(config, [...plainConfig, ...readConfig]);
  const { responseModalities: modalities, thinkingConfig: thinking } = config;
  const isText = (one: unknown): boolean => typeof one === 'string' && /^text$/i.test(one);
  if (modalities != null && !(Array.isArray(modalities) && modalities.every(isText)))
    throw unbounded('responseModalities other than "TEXT"');
  if (isRecord(thinking)) checkFields(thinking, thinkingFields);
  return config;
}

function candidatesOf({ candidateCount: count }: Record<string, unknown>): number {
  if (count == null) return 1;
  if (Number.isInteger(count) && (count as number) >= 1 && (count as number) <= candidatesMax) return count as number;
  throw refuse(`candidateCount: a whole number of 1 to ${candidatesMax} is needed.`);
}

/** Functions run at the client. Whatever else a tool is, is the provider's own, and billed apart. */
function toolTokensOf(tools: unknown): number {
  if (tools == null) return 0;
  if (!Array.isArray(tools)) throw refuse('tools: must be a list.');
  let tokens = tools.length > 0 ? overheads.toolsTokens : 0;
  for (const tool of tools as unknown[]) {
    if (!isRecord(tool)) throw refuse('tools: each must be an object.');
    const { functionDeclarations: declared = [], ...others } = tool;
    const other = Object.keys(others).find((name) => others[name] != null);
    if (other !== undefined) throw unbounded(`The tool ${quoted(other)} runs at the provider`);
    if (!Array.isArray(declared)) throw refuse('tools: functionDeclarations must be a list.');
    // As a text too: its description is one.
    for (const one of declared as unknown[])
      tokens += overheads.toolTokens + Math.max(valueTokensMax(one), textTokensMax(saidIn(one)));
  }
  return tokens;
}

/** No default of an account changes what a request costs that says nothing. */
function modifiersOf({ serviceTier: tier }: Record<string, unknown>): UsageModifiers {
  const name = saidIn(tier ?? 'standard')
    .toLowerCase()
    .replace(/^service_tier_/, '');
  return name === 'standard' || name === 'unspecified' ? {} : { serviceTier: name };
}

/** A prompt, to be counted. What is counted is what is called; what Google's counting leaves out is added. */
export function countOf(sent: Record<string, unknown>, model: string): CountRequest {
  const body = inOneSpelling(sent);
  const { contents, systemInstruction, tools, toolConfig } = body;
  const { imageTokens, documents, isHigh } = contentsIn(body, model);
  const config = configIn(body);
  const ofHigh = isHigh || isHighResolution(config.mediaResolution);
  const factor = documents === 0 ? 1 : ofHigh ? geminiPageFactor.high : geminiPageFactor.plain;
  const asked = { model: `models/${model}`, contents, systemInstruction, tools, toolConfig };
  return {
    path: `/v1beta/models/${model}:countTokens`,
    body: { generateContentRequest: asked },
    tokensIn(answer) {
      const { totalTokens: total, promptTokensDetails: details } = isRecord(answer) ? answer : {};
      if (typeof total !== 'number') return undefined;
      // Where it does not say what is text, all of it may be pages.
      return total + (factor - 1) * (total - textTokensIn(details)) + imageTokens + valueTokensMax(config);
    },
  };
}

function textTokensIn(details: unknown): number {
  const found = Array.isArray(details) ? (details as unknown[]).filter(isRecord) : [];
  return found.reduce((sum, { modality, tokenCount }) => sum + (modality === 'TEXT' ? Number(tokenCount) || 0 : 0), 0);
}

/** @throws ApiError for what is not even counted, by its name. */
export const checkCounted = (sent: Record<string, unknown>): void => checkSources(inOneSpelling(sent));
