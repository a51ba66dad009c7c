/** A call of OpenAI's Responses API, as the proxy passes it on. */
import { UsageError } from '../../../../core/prices/usage';
import { usageFromOpenAi } from '../../../../core/prices/usage-openai';
import type { CallWire } from '../../wire';
import { detailsOf } from '../errors';
import { regionOf } from '../tiers';
import { askedOf, countedBody } from './ask';
import { ResponseStreamReader, wholeResponseReader, type BilledResponse } from './reader';

/** Where its provider counts the tokens of a prompt. */
export const countPath = '/v1/responses/input_tokens';

/** What it counted. */
export const tokensIn = (answer: unknown): unknown => (answer as { input_tokens?: unknown } | null)?.input_tokens;

export const responsesCall: CallWire = {
  modelOf: ({ model }) => model,
  ask: askedOf,
  countOf: (body) => ({ path: countPath, body: countedBody(body), tokensIn }),
  reader: (isStream) => (isStream ? new ResponseStreamReader() : wholeResponseReader()),
  usageOf({ usage, doubt }, price, account) {
    const { usage: counts, service_tier: serviceTier, output } = usage as BilledResponse;
    const billsCacheWrites = price.rates.cacheWrite5mUsd !== undefined;
    const read = usageFromOpenAi(counts, { billsCacheWrites, serviceTier, output, ...regionOf(account) });
    if (doubt !== undefined) throw new UsageError(doubt, read);
    return read;
  },
  errorEvent(failed, { sequence = -1 }) {
    const details = detailsOf(failed);
    const event = { ...details, type: 'error', sequence_number: sequence + 1, error: details };
    return `event: error\ndata: ${JSON.stringify(event)}\n\n`;
  },
};
