/** OpenAI's API as the proxy speaks it: Responses and the counting of their tokens, Chat Completions, Embeddings, and the list of models. */
import { bearerOnly } from '../keys';
import type { Passed, Wire } from '../wire';
import { chatCall } from './chat/call';
import { embeddingsCall } from './embeddings/call';
import { detailsOf } from './errors';
import { checkCounted } from './responses/ask';
import { countPath, responsesCall } from './responses/call';

const posted: Partial<Record<string, Passed>> = {
  '/v1/responses': { type: 'call', call: responsesCall },
  '/v1/chat/completions': { type: 'call', call: chatCall },
  '/v1/embeddings': { type: 'call', call: embeddingsCall },
  [countPath]: { type: 'free', check: checkCounted },
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
    if (method === 'POST' && Object.hasOwn(posted, path)) return posted[path];
    return method === 'GET' && /^\/v1\/models(\/[\w.:@-]+)?$/.test(path) ? { type: 'free' } : undefined;
  },
  whyNot(path) {
    if (/^\/(responses|chat\/completions|embeddings|models)\b/.test(path))
      return 'The base URL of OpenAI’s SDKs ends in /proxy/openai/v1: /v1 is missing.';
    if (path.startsWith('/v1/batches')) return 'A batch is billed whenever it has run: it cannot be bounded.';
    if (path.startsWith('/v1/files'))
      return 'Files that the provider keeps cannot be bounded: send them with the call.';
    if (path.startsWith('/v1/responses/') || path.startsWith('/v1/chat/completions/'))
      return 'What the provider has stored is not reached by this way.';
    if (path === '/v1/completions') return 'Text completions are of models that have no price: use /v1/responses.';
    return undefined;
  },
  error: (failed) => ({ error: detailsOf(failed) }),
};
