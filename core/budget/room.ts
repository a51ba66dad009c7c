/** What is left for a payer before anything is decided: a look, which promises nothing. */
import type { Usd } from '../money';
import { covers, headroomUsd, tightest, type Payer, type Standing } from './quotas';

/** What is left of the tightest of the quotas that bind a payer; undefined where none does. */
export function roomUsd(quotas: readonly Standing[], payer: Payer): Usd | undefined {
  const full = tightest(quotas.filter((quota) => covers(quota, payer)));
  return full && headroomUsd(full);
}
