/** What an answer of a provider is, by what it says of itself. */
import type { IncomingMessage } from 'node:http';
import { isRecord } from '../../core/prices/usage';

const typeOf = ({ headers }: IncomingMessage): string => headers['content-type'] ?? '';
export const isStream = (answer: IncomingMessage): boolean => /^text\/event-stream\b/i.test(typeOf(answer));
export const isJson = (answer: IncomingMessage): boolean => /^application\/([\w.-]+\+)?json\b/i.test(typeOf(answer));

/** The provider's name for an error, for what it means. */
export function errorTypeOf(body: Buffer | undefined): string | undefined {
  try {
    const said: unknown = JSON.parse(body?.toString() ?? '');
    const error = isRecord(said) ? said.error : undefined;
    return isRecord(error) && typeof error.type === 'string' ? error.type : undefined;
  } catch {
    return undefined;
  }
}
