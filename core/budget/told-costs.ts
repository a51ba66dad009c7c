/**
 * What a cost that a caller tells of its own call may come to without an operator's word. A provider's bill beyond its grant is
 * recorded in full, and it is less than a hundred times the grant; what is more is a mistake of units (cents, or tokens, told as
 * dollars), or worse (docs/decisions/0048).
 */
import { PICO_PER_USD, type Usd } from '../money';

/** A cost of so many times its grant has to be confirmed. */
export const confirmedFromTimes = 100n;
/** A cost up to this is recorded, whatever was granted. */
const neverConfirmedUsd: Usd = PICO_PER_USD;

/** A cost is taken unconfirmed where its call was granted more than this. Undefined where any grant, or none, will do. */
export const grantNeededAboveUsd = (costUsd: Usd): Usd | undefined =>
  costUsd > neverConfirmedUsd ? costUsd / confirmedFromTimes : undefined;
