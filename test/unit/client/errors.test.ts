/** The classes of the client's errors: a program tells by them what it can do. */
import { errorFrom } from '../../../client/errors';

test.each<[code: string, status: number, name: string]>([
  ['quota_exceeded', 429, 'QuotaExceededError'],
  ['unauthorized', 401, 'AuthenticationError'],
  ['forbidden', 403, 'AuthenticationError'],
  // The key is in order: these are of money, and of code.
  ['budget_frozen', 403, 'SpendlockApiError'],
  ['code_refused', 403, 'SpendlockApiError'],
  ['unknown_tenant', 404, 'NotFoundError'],
  ['tenant_busy', 409, 'ConflictError'],
  ['authority_unavailable', 503, 'UnavailableError'],
  ['invalid_request', 400, 'SpendlockApiError'],
])('%s (%i) is a %s', (code, status, name) => {
  const error = errorFrom(status, { error: code, message: 'It was refused.', action: 'Ask.' });
  expect(error).toMatchObject({ name, code, status, message: 'It was refused.', action: 'Ask.' });
});
