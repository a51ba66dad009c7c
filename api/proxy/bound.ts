/** What a call can cost at most, before it is made: bounded here, and counted by its provider only where that changes something. */
import type { Usd } from '../../core/money';
import { boundSuffices, countedWithMargin } from '../../core/prices/bounded-calls';
import { estimateModelCall } from '../../core/prices/pricing';
import { findModelPrice, type ModelPrice } from '../../core/prices/prices';
import { ApiError } from '../http/errors';
import type { CallPayer } from './payer';
import type { Rooms } from './rooms';
import type { AskedCall, Wire } from './wire';

/** The price of the model that is asked for, at this provider. @throws UnpricedModelError where none has one, or ApiError. */
export function priceOf(
  { provider, name }: Pick<Wire, 'provider' | 'name'>,
  model: unknown,
  prices: readonly ModelPrice[],
): ModelPrice {
  if (typeof model !== 'string' || model === '')
    throw new ApiError('invalid_request', 'model: the name of a model is needed. No call was made.');
  const price = findModelPrice(prices, { model: model.slice(0, 200), at: Date.now() });
  if (price.provider === provider) return price;
  const action = `Send it to /proxy/${price.provider}, or ask for a model of ${name}.`;
  throw new ApiError(
    'unpriced_model',
    `The model ${JSON.stringify(price.model)} is one of ${price.provider}, and not of ${name}. No call was made and nothing was reserved.`,
    { action },
  );
}

/** Asks the provider to count a prompt; undefined where its answer is no count. */
export type CountPrompt = () => Promise<unknown>;

/** @throws ApiError where only a count would do and there is none. */
export async function boundOf(
  rooms: Pick<Rooms, 'of'>,
  {
    payer,
    price,
    asked,
    count,
  }: { payer: CallPayer; price: ModelPrice; asked: AskedCall; count?: CountPrompt | undefined },
): Promise<Usd> {
  const { maxOutputTokens, inputTokens, mustBeCounted, planned } = asked;
  const estimate = (tokens: number): Usd =>
    estimateModelCall(price, { inputTokens: tokens, maxOutputTokens, ...planned });
  const amountUsd = estimate(inputTokens);
  if (!mustBeCounted) {
    if (!count) return amountUsd;
    const quotaUsd = await rooms.of(payer, amountUsd);
    const bounded = { inputTokens, roughTokens: inputTokens, maxOutputTokens, amountUsd };
    if (boundSuffices(bounded, price, { quotaUsd })) return amountUsd;
  }
  const counted = countedWithMargin(await count?.());
  if (counted !== undefined) return estimate(mustBeCounted ? counted : Math.min(counted, inputTokens));
  if (!mustBeCounted) return amountUsd;
  throw new ApiError(
    'provider_unavailable',
    'The request has something that only its provider can count (an image, a file), and it was not counted. No call was made.',
  );
}
