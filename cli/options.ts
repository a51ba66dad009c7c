/** Options that several commands share. */
import { userInfo } from 'node:os';
import { InvalidArgumentError, Option } from 'commander';
import { parseUuid } from '../core/ids';
import { MoneyError, parseAmountUsd } from '../core/money';

export const amount = (text: string): string => {
  try {
    parseAmountUsd(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof MoneyError ? error.message : 'It is no amount.');
  }
};

/** An amount that does something: nothing is lifted by 0. */
export const positiveAmount = (text: string): string => {
  if (parseAmountUsd(amount(text)) > 0n) return text;
  throw new InvalidArgumentError('It must be more than 0.');
};

/** An id that the installation gave or was given, in its one spelling. */
export const uuid = (text: string): string => {
  const id = parseUuid(text);
  if (id === undefined) throw new InvalidArgumentError('It is no UUID.');
  return id;
};

export interface QuotaOptions {
  user?: string;
  resource: 'llm' | 'e2b' | 'all';
  period: 'day' | 'week' | 'month' | 'lifetime';
}
export const userOption = new Option('--user <id>', 'of one user instead of the tenant');
export const platformOption = new Option('--platform', 'of all tenants together');
export const resourceOption = new Option('--resource <type>', 'what it covers')
  .choices(['llm', 'e2b', 'all'])
  .default('all');
export const periodOption = new Option('--period <period>', 'when it resets')
  .choices(['day', 'week', 'month', 'lifetime'])
  .default('month');
export const reasonOption = (): Option => new Option('--reason <words>', 'why, for the audit').makeOptionMandatory();

export const scopeOf = ({ user }: { user?: string }): { scope: 'tenant' | 'user'; scopeId?: string } =>
  user === undefined ? { scope: 'tenant' } : { scope: 'user', scopeId: user };

/** The person at the keyboard, for the audit. */
export const author = (): string => userInfo().username;

export const tenantPath = (tenantId: string, rest: string): string =>
  `/v1/tenants/${encodeURIComponent(tenantId)}/${rest}`;
