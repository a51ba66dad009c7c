/** Anthropic's API as the proxy speaks it: Messages, the counting of tokens, and the list of models. */
import { usageFromAnthropic } from '../../../core/prices/usage-anthropic';
import { UsageError, usageOf } from '../../../core/prices/usage';
import { keyOf } from '../keys';
import type { CallWire, Wire, WireError } from '../wire';
import { askedOf, checkSources, countedBody } from './ask';
import { MessageStreamReader, wholeMessageReader } from './reader';

const errorTypes: Partial<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
};

const error = ({ status, message, requestId, spendlock }: WireError): object => ({
  type: 'error',
  error: { type: errorTypes[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error'), message },
  request_id: requestId,
  spendlock,
});

const countPath = '/v1/messages/count_tokens';

const messagesCall: CallWire = {
  modelOf: ({ model }) => model,
  ask: askedOf,
  countOf: (body) => ({
    path: countPath,
    body: countedBody(body),
    tokensIn: (answer) => (answer as { input_tokens?: unknown } | null)?.input_tokens,
  }),
  reader: (isStream) => (isStream ? new MessageStreamReader() : wholeMessageReader()),
  usageOf({ usage, doubt, isNotBilled }, { model }) {
    if (isNotBilled) return usageOf();
    const read = usageFromAnthropic(usage, model);
    if (doubt !== undefined) throw new UsageError(doubt, read);
    return read;
  },
  errorEvent: (failed) => `event: error\ndata: ${JSON.stringify(error(failed))}\n\n`,
};

export const anthropicWire: Wire = {
  provider: 'anthropic',
  name: 'Anthropic',
  address: 'https://api.anthropic.com',
  keyIn: (headers) => keyOf(headers, 'x-api-key'),
  keyHeaders: (apiKey) => ({ 'x-api-key': apiKey }),
  ownHeaders: /^anthropic-(organization-id$|(ratelimit|priority|fast)-)/,
  pathOf: (path) => path,
  passes(method, path) {
    if (method === 'POST' && path === '/v1/messages') return { type: 'call', call: messagesCall };
    if (method === 'POST' && path === countPath) return { type: 'free', check: checkSources };
    return method === 'GET' && /^\/v1\/models(\/[\w.:@-]+)?$/.test(path) ? { type: 'free' } : undefined;
  },
  whyNot(path) {
    if (path.startsWith('/v1/v1/'))
      return 'The base URL of Anthropic’s SDKs ends in /proxy/anthropic: it has a /v1 too many.';
    if (path.startsWith('/v1/messages/batches')) return 'A batch is billed whenever it has run: it cannot be bounded.';
    if (path === '/v1/complete') return 'Text completions are of models that have no price: use /v1/messages.';
    if (path.startsWith('/v1/files'))
      return 'Files that the provider keeps cannot be bounded: send them with the call.';
    return undefined;
  },
  error,
};
