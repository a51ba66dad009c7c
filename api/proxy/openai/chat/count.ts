/**
 * The prompt of a chat completion as one of the Responses API, which its provider counts for nothing: it counts none of chat completions.
 * It is counted alone and never sent as a call, so that the marks around its messages, which may be others, are all that it can differ in.
 */
import { overheads, valueTokensMax } from '../../../../core/prices/token-bounds';
import { isRecord } from '../../../../core/prices/usage';
import type { CountRequest } from '../../wire';
import { textOf } from '../parts';
import { countPath, tokensIn } from '../responses/call';

type Part = Record<string, unknown>;

export function countOf(body: Part): CountRequest {
  const { model, messages, tools, functions, response_format: format } = body;
  const said = Array.isArray(messages) ? (messages as unknown[]).filter(isRecord) : [];
  const input = said.flatMap(itemsOf);
  const offered = [...recordsIn(tools).map(toolOf), ...recordsIn(functions).map((one) => toolOf({ function: one }))];
  const isSchema = isRecord(format) && isRecord(format.json_schema);
  return {
    path: countPath,
    body: {
      model,
      input,
      ...(offered.length === 0 ? {} : { tools: offered }),
      ...(isSchema ? { text: { format: { type: 'json_schema', ...(format.json_schema as Part) } } } : {}),
    },
    tokensIn(answer) {
      const tokens = tokensIn(answer);
      if (typeof tokens !== 'number') return undefined;
      const uncounted = said.reduce((sum, message) => sum + uncountedTokensMax(message), 0);
      return tokens + input.length * overheads.messageTokens + uncounted;
    },
  };
}

/** What of a message is no part of what is counted, such as its author's name: as long as it can be. */
function uncountedTokensMax({
  role: _,
  content,
  tool_calls: calls,
  tool_call_id: __,
  function_call: ___,
  ...rest
}: Part): number {
  const ofParts = recordsIn(content).map(({ type, text, refusal, image_url: image, file, ...more }) => ({
    ...more,
    ...(type === 'refusal' ? { text } : { refusal }),
    ...(type === 'image_url' ? { file } : type === 'file' ? { image } : { image, file }),
  }));
  const ofCalls = recordsIn(calls).map(({ id: _, type: __, function: named, custom, ...more }) => ({
    ...more,
    ...(isRecord(custom) ? { named } : {}),
  }));
  return [rest, ...ofParts, ...ofCalls]
    .filter((one) => Object.values(one).some((value) => value != null))
    .reduce((sum, one) => sum + valueTokensMax(one), 0);
}

const recordsIn = (value: unknown): Part[] => (Array.isArray(value) ? (value as unknown[]).filter(isRecord) : []);

function toolOf({ type, function: named, custom }: Part): Part {
  return isRecord(custom)
    ? { type: 'custom', ...custom }
    : { type: type ?? 'function', ...(named as Part | undefined) };
}

function itemsOf({ role, content, tool_calls: calls, tool_call_id: id, function_call: call }: Part): Part[] {
  if (role === 'tool' || role === 'function')
    return [{ type: 'function_call_output', call_id: id ?? 'call', output: partsOf(content, 'input_text') }];
  const isOwn = role === 'assistant';
  const message = { role, content: partsOf(content, isOwn ? 'output_text' : 'input_text') };
  const called = [...recordsIn(calls), ...(isRecord(call) ? [{ function: call } as Part] : [])];
  return [...(content == null && called.length > 0 ? [] : [message]), ...called.map(callOf)];
}

function callOf({ id, function: named, custom }: Part): Part {
  if (isRecord(custom)) return { type: 'custom_tool_call', call_id: id ?? 'call', ...custom };
  return { type: 'function_call', call_id: id ?? 'call', ...(named as Part | undefined) };
}

function partsOf(content: unknown, textType: string): unknown {
  if (!Array.isArray(content)) return content ?? '';
  return recordsIn(content).map((part) => {
    const { type, image_url: image, file } = part;
    if (type === 'image_url') return { type: 'input_image', ...imageOf(image) };
    if (type === 'file') return { type: 'input_file', ...(file as Part | undefined) };
    return { type: textType, text: textOf(part) };
  });
}

const imageOf = (image: unknown): Part =>
  isRecord(image) ? { image_url: image.url, detail: image.detail ?? 'auto' } : { image_url: image, detail: 'auto' };
