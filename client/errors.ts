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
  get resourceType(): 'llm' | 'e2b' | undefined {
    return this.body.resourceType as 'llm' | 'e2b' | undefined;
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
