/** What the API refuses, as errors that a program can tell apart. */
import type { BindingQuotaView } from '../api/http/denials';

/** The API said no. `code` is one of docs/errors.md. */
export class SpendlockApiError extends Error {
  override readonly name: string = 'SpendlockApiError';
  constructor(
    readonly code: string,
    readonly status: number,
    message: string,
    readonly body: Record<string, unknown>,
  ) {
    super(message);
  }
  /** What the reader can do, if the API said so. */
  get action(): string | undefined {
    return typeof this.body.action === 'string' ? this.body.action : undefined;
  }
  /** When to try again, if the API said so. */
  get retryAfterSeconds(): number | undefined {
    return typeof this.body.retryAfter === 'number' ? this.body.retryAfter : undefined;
  }
}

/** Money was refused: by which quota, and when the same request may fit. */
export class QuotaExceededError extends SpendlockApiError {
  override readonly name = 'QuotaExceededError';
  /** The quota that stood in the way, with exact amounts and when it begins anew. */
  get quota(): BindingQuotaView | undefined {
    return this.body.quota as BindingQuotaView | undefined;
  }
  get resourceType(): string | undefined {
    return this.body.resourceType as string | undefined;
  }
}

/** The key is not known, is for somebody else, or may not do it. */
export class AuthenticationError extends SpendlockApiError {
  override readonly name = 'AuthenticationError';
}

/** There is no such thing, or it is another tenant's. */
export class NotFoundError extends SpendlockApiError {
  override readonly name = 'NotFoundError';
}

/** What was asked contradicts what is: it ended, was decided, or stands under the same key. */
export class ConflictError extends SpendlockApiError {
  override readonly name = 'ConflictError';
}

/** Nobody is there to answer; the same request may succeed later. */
export class UnavailableError extends SpendlockApiError {
  override readonly name = 'UnavailableError';
}

/** No answer came from the API that can be read: it is away, the way to it is broken, or it took too long. `cause` is how. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
  /** The whole address that was asked. */
  readonly url: string;
  /** Why, in a few words. */
  readonly reason: string;
  constructor({ method, to, cause }: { method: string; to: string; cause: unknown }) {
    const next =
      method === 'GET'
        ? 'Nothing was changed: ask again once the API is there.'
        : 'Whether it was carried out is not known, and it is not kept to be sent later. Once the API is there, look whether it was; sent again under the same operation id or Idempotency-Key it is never carried out twice.';
    super(`${method} ${to} was not answered (${reasonOf(cause)}). ${next}`, { cause });
    this.url = to;
    this.reason = reasonOf(cause);
  }
}

/** `fetch` says only that it failed; why is in its cause, which may have a code alone. */
function reasonOf(error: unknown): string {
  // Not by its class: of an error from another realm, such as a window's, it is another.
  const { message, cause } = (error ?? {}) as { message?: string; cause?: { message?: string; code?: string } };
  return cause?.message || cause?.code || message || String(error);
}

/** The error that a refusal's body stands for. */
export function errorFrom(status: number, body: Record<string, unknown>): SpendlockApiError {
  const code = typeof body.error === 'string' ? body.error : 'internal';
  const message = typeof body.message === 'string' ? body.message : `The API answered ${status}.`;
  const classes: Record<number, typeof SpendlockApiError> = {
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    409: ConflictError,
    503: UnavailableError,
  };
  // Of these the key is in order.
  const byCode: Partial<Record<string, typeof SpendlockApiError>> = {
    quota_exceeded: QuotaExceededError,
    budget_frozen: SpendlockApiError,
    code_refused: SpendlockApiError,
  };
  const Class = byCode[code] ?? classes[status] ?? SpendlockApiError;
  return new Class(code, status, message, body);
}
