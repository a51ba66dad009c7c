/** Google's Gemini API as the proxy speaks it: generateContent and its stream, the counting of tokens, and the list of models. */
import { UsageError } from '../../../core/prices/usage';
import { usageFromGoogle } from '../../../core/prices/usage-google';
import { isKeyShaped } from '../../../store/api-keys';
import { keyOf } from '../keys';
import { quoted, refuse } from '../unbounded';
import type { CallWire, Passed, Wire } from '../wire';
import { askedOf, checkCounted, countOf } from './ask';
import { errorOf, errorSaidIn } from './errors';
import { ContentStreamReader, wholeContentReader, type BilledContent } from './reader';

/** A call of the model that its path names. */
function generateCall(model: string, { isStream }: { isStream: boolean }): CallWire {
  let candidates = 1;
  return {
    modelOf({ model: named }) {
      if (named != null && named !== `models/${model}` && named !== model)
        throw refuse(`model: the body names ${quoted(named)}, and the path ${quoted(model)}.`);
      return model;
    },
    ask(body, price) {
      const { candidates: asked, ...call } = askedOf(body, price);
      candidates = asked;
      return { ...call, isStream };
    },
    countOf: (body) => countOf(body, model),
    reader: (isEvents) =>
      isEvents ? new ContentStreamReader({ model, candidates }) : wholeContentReader({ model, candidates }),
    usageOf({ usage, doubt }) {
      const { counts, ...details } = usage as BilledContent;
      const read = usageFromGoogle(counts, details);
      if (doubt !== undefined) throw new UsageError(doubt, read);
      return read;
    },
    errorEvent: (failed) => `data: ${JSON.stringify(errorOf(failed))}\n\n`,
  };
}

/** Both versions take the same calls: Google's SDK for Python asks the one, its others the other. */
const ofModel = /^\/v1(?:beta)?\/models\/([A-Za-z0-9][\w.-]*):(\w+)$/;

/** Parameters that are passed on: others choose what an answer has in it, its usage too. The key goes no further. */
const passedParameters = ['alt', 'pageSize', 'pageToken'];

export const googleWire: Wire = {
  provider: 'google',
  name: 'Google',
  address: 'https://generativelanguage.googleapis.com',
  /** In its header, in the address, or as a bearer's token: the one that is ours. */
  keyIn(headers, query) {
    const inHeader = keyOf(headers, 'x-goog-api-key');
    const inQuery = query.getAll('key').find(isKeyShaped) ?? query.get('key') ?? undefined;
    return inHeader !== undefined && (isKeyShaped(inHeader) || inQuery === undefined) ? inHeader : inQuery;
  },
  keyHeaders: (apiKey) => ({ 'x-goog-api-key': apiKey }),
  ownHeaders: /^(x-goog-(quota|user|ratelimit)|x-ratelimit-)/,
  pathOf: (path) => path,
  queryOf(query) {
    const passed = [...query].filter(([name]) => name !== 'key');
    const other = passed.find(([name]) => !passedParameters.includes(name) || query.getAll(name).length > 1);
    if (other) throw refuse(`The parameter ${quoted(other[0])} is not passed on.`);
    return passed.length === 0 ? '' : `?${new URLSearchParams(passed).toString()}`;
  },
  passes(method, path, query): Passed | undefined {
    if (method === 'GET') return /^\/v1(beta)?\/models(\/[\w.-]+)?$/.test(path) ? { type: 'free' } : undefined;
    const [, model, verb] = ofModel.exec(path) ?? [];
    if (method !== 'POST' || model === undefined) return undefined;
    if (verb === 'countTokens') return { type: 'free', check: checkCounted };
    if (verb === 'streamGenerateContent' && query.get('alt') !== 'sse')
      throw refuse('alt: a stream is passed on as server-sent events (?alt=sse).');
    const isStream = verb === 'streamGenerateContent';
    if (!isStream && verb !== 'generateContent') return undefined;
    return { type: 'call', call: generateCall(model, { isStream }) };
  },
  whyNot(path) {
    if (/^\/v1(beta)?\/v1(beta)?\//.test(path))
      return 'The base URL of Google’s SDKs ends in /proxy/google: it has a version too many.';
    // Also one text that is embedded is sent by Google's SDKs as a list of one.
    if (/:(embedContent|batchEmbedContents|predict|predictLongRunning)$/.test(path))
      return 'Models of this kind have no price.';
    if (/:(batch|asyncBatch)|^\/v1(beta)?\/batches/.test(path))
      return 'A batch is billed whenever it has run: it cannot be bounded.';
    if (/^\/(upload\/)?v1(beta)?\/(files|cachedContents|fileSearchStores|corpora)/.test(path))
      return 'What the provider keeps cannot be bounded: send it with the call.';
    if (/^\/v1(beta)?\/openai\//.test(path)) return 'OpenAI’s API of Gemini is not passed on: use generateContent.';
    if (/^\/v1(beta)?\/interactions/.test(path)) return 'Interactions are kept by the provider: use generateContent.';
    if (path.startsWith('/v1alpha/')) return 'The versions of the API that are passed on are v1 and v1beta.';
    return undefined;
  },
  error: errorOf,
  errorIn: errorSaidIn,
};
