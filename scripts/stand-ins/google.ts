/** A stand-in for Google's Gemini API, for tests and for machines without a key: the real wire format, scripted answers. */
import { randomUUID } from 'node:crypto';
import { sendJson } from './http';
import type { ModelKnobs } from './knobs';
import {
  pieces,
  startModelStandIn,
  type Asked,
  type ModelStandIn,
  type ModelStandInOptions,
  type WireFormat,
} from './model-stand-in';
import type { Reply } from './reply';
import type { CacheRule } from './prompt-cache';
import type { ScriptMessage } from './script-message';
import { callSignature, thinkingAtGoogle } from './thinking';

interface Content {
  role?: string;
  parts?: { text?: string; functionResponse?: { id?: string; response?: { output?: unknown; error?: unknown } } }[];
}

export interface GenerateRequest {
  contents?: Content[];
  systemInstruction?: unknown;
  tools?: unknown;
  toolConfig?: { functionCallingConfig?: { mode?: unknown } };
  generationConfig?: { maxOutputTokens?: number; candidateCount?: number; responseJsonSchema?: unknown };
  /** To be counted: a call as it would be made. */
  generateContentRequest?: GenerateRequest & { model?: string };
}

export type GoogleStandIn = ModelStandIn<GenerateRequest>;

export const startGoogleStandIn = (options: ModelStandInOptions = {}): Promise<GoogleStandIn> =>
  startModelStandIn<GenerateRequest>(format, options);

/** Contents as the script reads them. */
const messageOf = ({ role, parts = [] }: Content): ScriptMessage => ({
  role: role === 'model' ? 'assistant' : 'user',
  content: parts.map(({ text, functionResponse }) => {
    if (!functionResponse) return { type: 'text', text: text ?? '' };
    const { response = {} } = functionResponse;
    return { type: 'tool_result', content: response.output ?? response.error, is_error: response.error !== undefined };
  }),
});

/** Models from Gemini 2.5 on cache by themselves, from 2,048 tokens on, later ones from 4,096. */
const cacheRuleOf = (model: string, values: unknown[]): CacheRule | undefined =>
  /^gemini-(1|2[.]0)/.test(model)
    ? undefined
    : {
        blocks: values.map((value) => ({ value: value ?? null })),
        key: [model],
        minimumTokens: model.startsWith('gemini-2.5') ? 2_048 : 4_096,
        stepTokens: 64,
      };

const statuses: Record<number, string> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  503: 'UNAVAILABLE',
};

const retryInfo = (seconds: string | number | undefined): unknown[] =>
  seconds === undefined ? [] : [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: `${seconds}s` }];

const format: WireFormat = {
  name: 'google',
  namesEvents: false,
  keyOf: ({ headers }) => headers['x-goog-api-key']?.toString(),
  read(path, body) {
    const [, model = '', method] = /^\/v1(?:beta)?\/models\/([^:/]+):(\w+)$/.exec(path) ?? [];
    const counts = method === 'countTokens';
    const stream = method === 'streamGenerateContent';
    if (!counts && !stream && method !== 'generateContent') return { status: 404, message: 'Not found' };
    if (!model.startsWith('gemini-')) return { status: 404, message: `models/${model} is not found` };
    const { generateContentRequest: whole, ...asked } = body as GenerateRequest;
    if (whole && !(counts && whole.model === `models/${model}` && asked.contents === undefined))
      return { status: 400, message: 'generateContentRequest: of the same model, and without contents beside it' };
    const { contents = [], systemInstruction, tools, toolConfig, generationConfig } = whole ?? asked;
    const messages = contents.map(messageOf);
    const maxTokens = generationConfig?.maxOutputTokens ?? 8_192;
    const choices = generationConfig?.candidateCount ?? 1;
    const { responseJsonSchema: form } = generationConfig ?? {};
    // What it is to answer by is a part of the prompt; it is not counted where contents alone are.
    const prompt = [systemInstruction, tools, contents, ...(form ? [form] : [])];
    const cache = cacheRuleOf(model, [systemInstruction, tools, ...contents]);
    const callsNoTools = toolConfig?.functionCallingConfig?.mode === 'NONE';
    const thinks = thinkingAtGoogle(model, { config: generationConfig, contents, tools });
    if ('status' in thinks) return thinks;
    const told = { counts, model, messages, tools, maxTokens, stream, ...thinks, callsNoTools, choices, prompt };
    return { ...told, ...(cache ? { cache } : {}) };
  },
  refuse(response, status, message, headers = {}) {
    const details = retryInfo(headers['retry-after']);
    const error = { code: status, message, status: statuses[status] ?? 'INTERNAL', details };
    sendJson(response, status, { error });
  },
  counted: (response, tokens) => sendJson(response, 200, { totalTokens: tokens }),
  whole: (response, asked, reply, knobs) =>
    sendJson(
      response,
      200,
      chunkOf(
        asked,
        reply,
        knobs,
        everyIndex(asked).map((index) => candidateOf(reply, knobs, { parts: partsOf(reply), index, isLast: true })),
        true,
      ),
    ),
  stream,
};

const partsOf = ({ text, toolUses, thoughtTokens }: Reply): Record<string, unknown>[] => [
  ...(text === '' ? [] : [{ text }]),
  ...toolUses.map(({ id, name, input }, index) => ({
    functionCall: { id, name, args: input },
    // The first of several calls has it.
    ...(thoughtTokens > 0 && index === 0 ? { thoughtSignature: callSignature() } : {}),
  })),
];

const everyIndex = ({ choices = 1 }: Asked): number[] => Array.from({ length: choices }, (_, index) => index);

function candidateOf(
  { isCut, isRefusal, endedAs = isRefusal ? 'SAFETY' : isCut ? 'MAX_TOKENS' : 'STOP' }: Reply,
  { extra }: ModelKnobs,
  { parts, index, isLast }: { parts: Record<string, unknown>[]; index: number; isLast: boolean },
): Record<string, unknown> {
  const finish = isLast ? { finishReason: endedAs } : {};
  return { content: { role: 'model', parts }, index, ...finish, ...(isLast ? extra?.candidate : {}) };
}

/** Usage comes with every chunk, as of then. */
function chunkOf(
  { model, choices = 1 }: Asked,
  { inputTokens, cached, thoughtTokens, outputTokens }: Reply,
  knobs: ModelKnobs,
  candidates: Record<string, unknown>[],
  isLast: boolean,
): Record<string, unknown> {
  const candidatesTokenCount = isLast ? choices * (outputTokens - thoughtTokens) : 1;
  const counts: Record<string, unknown> = {
    promptTokenCount: inputTokens,
    ...(cached.read > 0 ? { cachedContentTokenCount: cached.read } : {}),
    candidatesTokenCount,
    ...(thoughtTokens > 0 ? { thoughtsTokenCount: choices * thoughtTokens } : {}),
    ...knobs.usage,
    ...(isLast ? {} : knobs.usageAtStart),
  };
  const all = ['promptTokenCount', 'candidatesTokenCount', 'thoughtsTokenCount', 'toolUsePromptTokenCount'];
  const totalTokenCount = all.reduce((sum, name) => sum + Number(counts[name] ?? 0), 0);
  return {
    candidates,
    usageMetadata: (isLast ? knobs.usage : knobs.usageAtStart) === null ? undefined : { totalTokenCount, ...counts },
    modelVersion: model,
    responseId: `stand-in-${randomUUID()}`,
  };
}

async function stream(...[writer, asked, reply, knobs]: Parameters<WireFormat['stream']>): Promise<void> {
  const [first = '', ...more] = pieces(reply.text);
  const chunk = (parts: Record<string, unknown>[], index: number, isLast = false): Promise<void> => {
    const isEnd = isLast && index === everyIndex(asked).length - 1;
    return writer.send(chunkOf(asked, reply, knobs, [candidateOf(reply, knobs, { parts, index, isLast })], isEnd));
  };
  const fail = async (after: 'nothing' | 'output'): Promise<boolean> => {
    const error = writer.errorAt(after);
    if (error) {
      const code = Number(Object.keys(statuses).find((status) => statuses[Number(status)] === error.name) ?? 500);
      const details = retryInfo(error.retryAfterSeconds);
      await writer.send({ error: { code, message: 'The stand-in was told to fail', status: error.name, details } });
    }
    return error !== undefined;
  };
  if (await fail('nothing')) return;
  for (const index of everyIndex(asked)) {
    await chunk([{ text: first }], index);
    if (await fail('output')) return;
    if (writer.isBroken()) return;
    for (const text of more) await chunk([{ text }], index);
    await chunk(partsOf({ ...reply, text: '' }), index, true);
  }
  await writer.isCutAtEnd();
}
