/** What a request of OpenAI's Embeddings can cost at most: its texts, or the tokens that they have been made into. */
import type { ModelPrice } from '../../../../core/prices/prices';
import { overheads, textTokensMax } from '../../../../core/prices/token-bounds';
import type { ModelAccount } from '../../../../temporal/model-accounts';
import { answerBytesMax } from '../../answer-room';
import { checkFields, refuse } from '../../unbounded';
import type { AskedCall } from '../../wire';
import { regionOf } from '../tiers';

const fields = ['dimensions', 'encoding_format', 'input', 'model', 'user'];
/** So many texts to one request is the most that its provider takes. */
const inputsMax = 2_048;
/** Around a text: a mark of its end. */
const markTokens = 4;

/** @throws ApiError for what nobody can bound, by its name. */
export function askedOf(body: Record<string, unknown>, _price: ModelPrice, account: ModelAccount): AskedCall {
  checkFields(body, fields);
  const inputs = inputsOf(body.input);
  return {
    maxOutputTokens: 0,
    inputTokens: overheads.promptTokens + inputs.reduce((sum, one) => sum + tokensMax(one), 0),
    isStream: false,
    answerBytes: answerBytesOf(body, inputs.length),
    mustBeCounted: false,
    planned: { modifiers: regionOf(account) },
  };
}

/** So many numbers has a vector: of the models that are known to make shorter ones, and the longest that there is. */
const dimensionsMax = { short: 1_536, any: 3_072 };
const makesShort = /^text-embedding-(3-small|ada-002)$/;
/** A number in base64, and one that is written out. */
const numberBytes = { base64: 6, float: 24 };

/** @throws ApiError where nobody could keep it until it is whole. */
function answerBytesOf(
  { dimensions, encoding_format: format, model }: Record<string, unknown>,
  inputs: number,
): number {
  const most = typeof model === 'string' && makesShort.test(model) ? dimensionsMax.short : dimensionsMax.any;
  const size = typeof dimensions === 'number' ? dimensions : most;
  const bytes = inputs * (256 + size * (format === 'base64' ? numberBytes.base64 : numberBytes.float));
  if (bytes <= answerBytesMax) return bytes;
  throw refuse(
    'input: so many vectors make an answer that is too long: ask for fewer, or for "encoding_format": "base64".',
  );
}

/** A text, several, tokens, or several lists of tokens: as the list that it stands for. */
function inputsOf(input: unknown): (string | number[])[] {
  if (isText(input) || isTokens(input)) return [input];
  const isMany = Array.isArray(input) && input.length > 0 && input.length <= inputsMax;
  if (isMany && (input.every(isText) || input.every(isTokens))) return input;
  throw refuse(`input: a text, a list of tokens, or a list of 1 to ${inputsMax} of either is needed.`);
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isTokens = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length > 0 && value.every((token) => Number.isInteger(token));

const tokensMax = (input: string | number[]): number =>
  markTokens + (typeof input === 'string' ? textTokensMax(input) : input.length);
