/** A stand-in for OpenAI's Embeddings: the real wire format; a vector is made of its text's hash, so that the same text has the same one. */
import { createHash } from 'node:crypto';
import { sendJson } from './http';
import type { AnswerFormat, Asked } from './model-stand-in';

export interface EmbeddingsRequest {
  input?: unknown;
  dimensions?: number | null;
  encoding_format?: string | null;
}

const dimensionsOf: Partial<Record<string, number>> = { 'text-embedding-3-large': 3_072 };
const inputsMax = 2_048;

/** What is asked of it, as its provider would refuse it or take it. */
export function embeddingsAsked(body: EmbeddingsRequest, model: string): Asked | { status: number; message: string } {
  const { input, dimensions, encoding_format: format } = body;
  const isOne = typeof input === 'string' || (Array.isArray(input) && typeof input[0] === 'number');
  const inputs: unknown[] = isOne ? [input] : Array.isArray(input) ? (input as unknown[]) : [];
  if (inputs.length === 0 || inputs.length > inputsMax || inputs.some((one) => one === ''))
    return { status: 400, message: "'$.input' is invalid." };
  const size = dimensions ?? dimensionsOf[model] ?? 1_536;
  return {
    ...{ counts: false, model, messages: [], maxTokens: 1, stream: false, prompt: inputs },
    answered: answers(
      inputs.map((one) => vectorOf(one, size)),
      format === 'base64',
    ),
  };
}

function vectorOf(input: unknown, size: number): Float32Array {
  const hash = createHash('sha256').update(JSON.stringify(input)).digest();
  const raw = Float32Array.from({ length: size }, (_, at) => (hash[at % hash.length] ?? 0) - 127.5);
  const length = Math.sqrt(raw.reduce((sum, value) => sum + value * value, 0));
  return raw.map((value) => value / length);
}

const answers = (vectors: Float32Array[], isBase64: boolean): AnswerFormat => ({
  namesEvents: false,
  whole: (response, { model }, { inputTokens }, { usage }) =>
    sendJson(response, 200, {
      object: 'list',
      data: vectors.map((vector, index) => ({
        object: 'embedding',
        index,
        embedding: isBase64 ? Buffer.from(vector.buffer).toString('base64') : [...vector],
      })),
      model,
      ...(usage === null ? {} : { usage: { prompt_tokens: inputTokens, total_tokens: inputTokens, ...usage } }),
    }),
  stream: () => Promise.reject(new Error('embeddings are no stream')),
});
