/** Parts of a message of OpenAI's. */
import { textTokensMax, valueTokensMax } from '../../../core/prices/token-bounds';
import { saidIn } from '../unbounded';

/** What a part says: the text that its type has. All else in it is looked at as what it may be. */
export const textOf = ({ type, text, refusal }: Record<string, unknown>): unknown =>
  (type === 'refusal' ? refusal : text) ?? '';

/** The tokens of a part that says something, at most. */
export function saidTokensMax(part: Record<string, unknown>): number {
  const { type, text, refusal, ...rest } = part;
  const other = type === 'refusal' ? text : refusal;
  return textTokensMax(saidIn(textOf(part))) + valueTokensMax(other == null ? rest : { ...rest, other });
}
