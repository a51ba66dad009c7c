/** What an answer of a provider is, by what it says of itself. */
import type { IncomingMessage } from 'node:http';
import { isRecord } from '../../core/prices/usage';
import { objectFrom } from './json';
import type { ErrorSaid } from './wire';

const typeOf = ({ headers }: IncomingMessage): string => headers['content-type'] ?? '';
export const isStream = (answer: IncomingMessage): boolean => /^text\/event-stream\b/i.test(typeOf(answer));
export const isJson = (answer: IncomingMessage): boolean => /^application\/([\w.-]+\+)?json\b/i.test(typeOf(answer));

/** What an error says of itself, as most providers have it. */
export function errorSaidIn(body: Buffer): ErrorSaid {
  const { error } = objectFrom(body.toString()) ?? {};
  return isRecord(error) && typeof error.type === 'string' ? { type: error.type } : {};
}
