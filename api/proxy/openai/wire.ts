/** OpenAI's API as the proxy speaks it: Responses, the counting of their tokens, and the list of models. */
import { usageFromOpenAi } from '../../../core/prices/usage-openai';
import { UsageError } from '../../../core/prices/usage';
import { bearerOnly } from '../keys';
import type { Wire, WireError } from '../wire';
import { askedOf, checkCounted, countedBody, regionOf } from './ask';
import { ResponseStreamReader, wholeResponseReader, type BilledResponse } from './reader';

/** Its type and its code, as OpenAI has them. */
function kindOf({ status, spendlock }: WireError): { type: string; code: string | null } {
  if (spendlock.error === 'quota_exceeded') return { type: 'insufficient_quota', code: 'insufficient_quota' };
  if (status === 429) return { type: 'requests', code: 'rate_limit_exceeded' };
  if (status >= 500) return { type: 'server_error', code: null };
  return { type: 'invalid_request_error', code: status === 401 ? 'invalid_api_key' : null };
}

const detailsOf = (error: WireError): object => {
  const { message, spendlock } = error;
  return { message, ...kindOf(error), param: null, spendlock };
};

export const openAiWire: Wire = {
  provider: 'openai',
  name: 'OpenAI',
  address: 'https://api.openai.com/v1',
  keyIn: bearerOnly,
  keyHeaders: (apiKey) => ({ authorization: `Bearer ${apiKey}` }),
  ownHeaders: /^(openai-(organization|project)$|x-ratelimit-)/,
  pathOf: (path) => path.replace(/^\/v1/, ''),
  passes(method, path) {
    if (method === 'POST' && path === '/v1/responses') return 'call';
    if (method === 'POST' && path === '/v1/responses/input_tokens') return 'free';
    return method === 'GET' && /^\/v1\/models(\/[\w.:@-]+)?$/.test(path) ? 'free' : undefined;
  },
  whyNot(path) {
    if (path === '/v1/chat/completions') return 'Chat completions are not passed on yet: use /v1/responses.';
    if (path.startsWith('/v1/batches')) return 'A batch is billed whenever it has run: it cannot be bounded.';
    if (path.startsWith('/v1/responses/')) return 'What the provider has stored is not reached by this way.';
    return undefined;
  },
  modelOf: ({ model }) => model,
  ask: askedOf,
  checkCounted,
  countOf: (body) => ({
    path: '/v1/responses/input_tokens',
    body: countedBody(body),
    tokensIn: (answer) => (answer as { input_tokens?: unknown } | null)?.input_tokens,
  }),
  reader: (contentType) =>
    contentType.startsWith('text/event-stream') ? new ResponseStreamReader() : wholeResponseReader(),
  usageOf({ usage, doubt }, price, account) {
    const { usage: counts, service_tier: serviceTier, output } = usage as BilledResponse;
    const billsCacheWrites = price.rates.cacheWrite5mUsd !== undefined;
    const read = usageFromOpenAi(counts, { billsCacheWrites, serviceTier, output, ...regionOf(account) });
    if (doubt !== undefined) throw new UsageError(doubt, read);
    return read;
  },
  error: (failed) => ({ error: detailsOf(failed) }),
  errorEvent: (failed) =>
    `event: error\ndata: ${JSON.stringify({ type: 'error', ...detailsOf(failed), error: detailsOf(failed) })}\n\n`,
};
