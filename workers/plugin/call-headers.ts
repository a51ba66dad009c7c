/**
 * Headers that a call of the AI SDK brings for its provider. Each is known here, or the call is refused by its name: by another key or
 * project it is billed by other terms than those that are known.
 */
import { isRecord } from '../../core/prices/usage';
import { unbounded } from './refused';

/** The AI SDK names itself; the rest says what a call is for, how it is traced, and in which of its versions a provider is asked. */
const known = [
  ...['accept', 'anthropic-beta', 'anthropic-version', 'baggage', 'content-type', 'idempotency-key', 'openai-beta'],
  ...['traceparent', 'tracestate', 'user-agent', 'x-client-request-id', 'x-request-id'],
];

/**
 * @param otherHeaders those that whoever runs this vouches for.
 * @throws ApplicationFailure for one that is not known.
 */
export function checkHeaders(given: unknown, otherHeaders: readonly string[] = []): void {
  const names = [...known, ...otherHeaders.map((name) => name.toLowerCase())];
  for (const [name, value] of isRecord(given) ? Object.entries(given) : [])
    if (value !== null && value !== undefined && !names.includes(name.toLowerCase()))
      throw unbounded(`The header ${JSON.stringify(name)} is not known here`);
}
