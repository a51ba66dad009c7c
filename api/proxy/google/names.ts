/**
 * Google's JSON takes a name in two spellings, `maxOutputTokens` and `max_output_tokens`. What a request asks is looked at in the first;
 * one that has a name in both is refused, since nobody knows which of them its provider reads.
 */
import { isRecord } from '../../../core/prices/usage';
import { quoted, refuse } from '../unbounded';

/** What holds names of the client's own, such as those of a function's arguments: it stays as it is. */
const free = [
  ...['args', 'response', 'parameters', 'parametersJsonSchema', 'responseSchema', 'responseJsonSchema'],
  ...['_responseJsonSchema', 'partMetadata'],
];

const spelled = (name: string): string =>
  name.replace(/(?<=[a-zA-Z0-9])_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** @throws ApiError where an object has a name in two spellings. */
export function inOneSpelling(body: Record<string, unknown>): Record<string, unknown> {
  // Without a prototype, so that a name such as __proto__ is one like any other.
  const named = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of Object.entries(body)) {
    const one = spelled(name);
    if (Object.hasOwn(named, one)) throw refuse(`The body has ${quoted(one)} in two spellings.`);
    named[one] = free.includes(one) ? value : valueIn(value);
  }
  return named;
}

function valueIn(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(valueIn);
  return isRecord(value) ? inOneSpelling(value) : value;
}
