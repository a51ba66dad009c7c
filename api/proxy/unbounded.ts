/** What is refused since nobody can say before the call what it costs: by its name. */
import { MAX_COUNT } from '../../core/prices/usage';
import { ApiError } from '../http/errors';

export const refuse = (message: string): ApiError => new ApiError('invalid_request', `${message} No call was made.`);
export const unbounded = (what: string): ApiError =>
  refuse(`${what}: what it costs is not known before the call, so it is not passed on.`);

/** What a request says somewhere, as text. */
export const saidIn = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? null));
export const quoted = (value: unknown): string => JSON.stringify(saidIn(value).slice(0, 100));

/** @throws ApiError for a field that is not among those that are known. One that is null is left open. */
export function checkFields(body: Record<string, unknown>, known: readonly string[]): void {
  for (const field of Object.keys(body))
    if (!known.includes(field) && body[field] !== null) throw unbounded(`The field ${quoted(field)} is not known here`);
}

/** How long the answer may be, and whether it is a stream. @throws ApiError where nothing bounds it. */
export function answerOf(body: Record<string, unknown>, field: string): { isStream: boolean; maxOutputTokens: number } {
  const { stream } = body;
  const maxOutputTokens = limitIn(body, field);
  if (stream != null && typeof stream !== 'boolean') throw refuse('stream: must be true or false.');
  return { isStream: stream === true, maxOutputTokens };
}

/** How long one answer may be. @throws ApiError where nothing bounds it. */
export function limitIn(asked: Record<string, unknown>, field: string): number {
  const limit = asked[field];
  if (Number.isInteger(limit) && (limit as number) >= 1 && (limit as number) <= MAX_COUNT) return limit as number;
  throw refuse(`${field}: a whole number of at least 1 is needed; it bounds what the answer costs.`);
}
