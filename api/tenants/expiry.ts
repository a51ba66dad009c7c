/** When a top-up expires. */
import { problemOfExpiry } from '../../core/budget/expiry';
import { ApiError } from '../http/errors';

/**
 * The moment in one spelling. Whoever repeats a request that was carried out gets its answer, however late.
 * @throws ApiError where it cannot be that.
 */
export function expiryOf(expiresAt: string): string {
  const problem = problemOfExpiry(expiresAt, Date.now());
  if (problem !== undefined) throw new ApiError('invalid_request', `expiresAt: ${problem}. Nothing was changed.`);
  return new Date(expiresAt).toISOString();
}
