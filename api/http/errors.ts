/** Errors as the API answers them: a code of the catalogue, what happened, and what to do. */
import { errorCatalogue, type ErrorCode } from '../../core/errors';

export class ApiError extends Error {
  override readonly name = 'ApiError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly more: Record<string, unknown> = {},
  ) {
    super(message);
  }

  get status(): number {
    return errorCatalogue[this.code].httpStatus;
  }
}

export interface ErrorBody extends Record<string, unknown> {
  error: ErrorCode;
  message: string;
  action: string;
  requestId: string;
}

export const errorBody = ({ code, message, more }: ApiError, requestId: string): ErrorBody => ({
  error: code,
  message,
  action: errorCatalogue[code].action,
  requestId,
  ...more,
});

/** An answer that is written by hand, where nothing else writes it. */
export interface WrittenAnswer {
  status: number;
  headers: Record<string, string | number>;
  body: string;
}

/** An error as the API answers it. */
export const errorAnswer = (error: ApiError, requestId: string): WrittenAnswer => {
  const { retryAfter } = error.more;
  return {
    status: error.status,
    headers: {
      'content-type': 'application/json',
      ...(typeof retryAfter === 'number' ? { 'retry-after': retryAfter } : {}),
    },
    body: JSON.stringify(errorBody(error, requestId)),
  };
};
