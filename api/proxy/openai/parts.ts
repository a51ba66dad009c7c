/** Parts of a message of OpenAI's. */
import { overheads, textTokensMax, valueTokensMax } from '../../../core/prices/token-bounds';
import { isRecord } from '../../../core/prices/usage';
import { quoted, refuse, saidIn, unbounded } from '../unbounded';

/** What a part says: the text that its type has. All else in it is looked at as what it may be. */
export const textOf = ({ type, text, refusal }: Record<string, unknown>): unknown =>
  (type === 'refusal' ? refusal : text) ?? '';

/** The tokens of a part that says something, at most. */
function saidTokensMax(part: Record<string, unknown>): number {
  const { type, text, refusal, ...rest } = part;
  const other = type === 'refusal' ? text : refusal;
  return textTokensMax(saidIn(textOf(part))) + valueTokensMax(other == null ? rest : { ...rest, other });
}

/** What content may be made of: types of parts that say something, and of those that only their provider can count. */
interface ContentKinds {
  /** Where it stands in a request. */
  field: string;
  said: readonly string[];
  counted: readonly string[];
}

/** The tokens of a text or of parts, at most. @throws ApiError by the name of what nobody can bound. */
export function boundOfContent(
  value: unknown,
  { field, said, counted }: ContentKinds,
): { tokens: number; mustBeCounted: boolean } {
  if (typeof value === 'string') return { tokens: overheads.blockTokens + textTokensMax(value), mustBeCounted: false };
  if (!Array.isArray(value)) throw refuse(`${field}: content must be a text or a list of parts.`);
  let tokens = 0;
  let mustBeCounted = false;
  for (const part of value as unknown[]) {
    if (!isRecord(part)) throw refuse(`${field}: each part must be an object.`);
    const { type } = part;
    tokens += overheads.blockTokens;
    if (said.some((known) => known === type)) tokens += saidTokensMax(part);
    else if (counted.some((known) => known === type)) mustBeCounted = true;
    else throw unbounded(`A part of the type ${quoted(type)}`);
  }
  return { tokens, mustBeCounted };
}
