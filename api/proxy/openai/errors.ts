/** What is wrong, as OpenAI says it. */
import type { WireError } from '../wire';

/** Its type and its code, as OpenAI has them. */
function kindOf({ status, spendlock }: WireError): { type: string; code: string | null } {
  if (spendlock.error === 'quota_exceeded') return { type: 'insufficient_quota', code: 'insufficient_quota' };
  if (status === 429) return { type: 'requests', code: 'rate_limit_exceeded' };
  if (status >= 500) return { type: 'server_error', code: null };
  return { type: 'invalid_request_error', code: status === 401 ? 'invalid_api_key' : null };
}

export function detailsOf(error: WireError): object {
  const { message, spendlock } = error;
  return { message, ...kindOf(error), param: null, spendlock };
}
