/** What is refused since nobody can say before the call what it costs: by its name. */
import { outputTokensMax } from '../../core/prices/output-limits';
import { isRecord, MAX_COUNT } from '../../core/prices/usage';
import { ApiError } from '../http/errors';

export const refuse = (message: string): ApiError => new ApiError('invalid_request', `${message} No call was made.`);
export const unbounded = (what: string): ApiError =>
  refuse(`${what}: what it costs is not known before the call, so it is not passed on.`);

/** A tool of a kind that is passed on for no client: one that runs at the provider is billed there, and of others that is not known. */
export const otherTool = (type: string, known: readonly string[]): string =>
  `The tool ${quoted(type)} is none that is known to cost nothing at the provider (${known.join(', ')})`;

/** What a request says somewhere, as text. */
export const saidIn = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? null));
export const quoted = (value: unknown): string => JSON.stringify(saidIn(value).slice(0, 100));

/** @throws ApiError for a field that is not among those that are known. One that is null is left open. */
export function checkFields(body: Record<string, unknown>, known: readonly string[]): void {
  for (const field of Object.keys(body))
    if (!known.includes(field) && body[field] !== null) throw unbounded(`The field ${quoted(field)} is not known here`);
}

/** Looks at each object in a body, however deep inside. */
export function lookInside(body: unknown, look: (inside: Record<string, unknown>) => void): void {
  for (let level: unknown[] = [body]; level.length > 0;) {
    const next: unknown[] = [];
    for (const one of level) {
      if (typeof one !== 'object' || one === null) continue;
      if (isRecord(one)) look(one);
      for (const inner of Object.values(one)) next.push(inner);
    }
    level = next;
  }
}

/** How long an answer may be, and by which field that may be set where its request leaves it open. */
export interface AnswerLimit {
  maxOutputTokens: number;
  openField?: string;
}

/** How long the answer may be, and whether it is a stream. @throws ApiError where nothing bounds it. */
export function answerOf(
  body: Record<string, unknown>,
  field: string,
  model?: string,
): AnswerLimit & { isStream: boolean } {
  const { stream } = body;
  const limit = limitIn(body, field, model);
  if (stream != null && typeof stream !== 'boolean') throw refuse('stream: must be true or false.');
  return { isStream: stream === true, ...limit };
}

/**
 * How long one answer may be: as long as its request says, or as its model can make it where that is known.
 * @param model whose provider takes a request without a limit.
 * @throws ApiError where nothing bounds it.
 */
export function limitIn(asked: Record<string, unknown>, field: string, model?: string): AnswerLimit {
  const limit = asked[field];
  const isOpen = limit == null && model !== undefined;
  const most = isOpen ? outputTokensMax(model) : undefined;
  if (most !== undefined) return { maxOutputTokens: most, openField: field };
  if (Number.isInteger(limit) && (limit as number) >= 1 && (limit as number) <= MAX_COUNT)
    return { maxOutputTokens: limit as number };
  const why = isOpen ? ` How long one of ${quoted(model)} can be is not known here.` : '';
  throw refuse(`${field}: a whole number from 1 to ${MAX_COUNT} is needed; it bounds what the answer costs.${why}`);
}
