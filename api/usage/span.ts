/** The span that usage is asked of. */
import { dayMs } from '../../core/budget/periods';
import { ApiError } from '../http/errors';

/** Thirty days and what is over of today, unless asked for otherwise. */
export function span(asked: { from?: string | undefined; to?: string | undefined }): { from: Date; to: Date } {
  const to = asked.to === undefined ? new Date() : new Date(asked.to);
  const from =
    asked.from === undefined ? new Date((Math.floor(to.getTime() / dayMs) - 30) * dayMs) : new Date(asked.from);
  refuseEmptySpan(from, to);
  return { from, to };
}

/** @throws ApiError for a span in which nothing can be: it would look as if nothing had been spent. */
export function refuseEmptySpan(from: Date | undefined, to: Date | undefined): void {
  if (from && to && from >= to) throw new ApiError('invalid_request', 'from: must be before to.');
}
