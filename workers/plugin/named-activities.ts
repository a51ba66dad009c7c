/** Activities of a user's own that cost money, such as `weather-callTool` of an MCP server. */
import { parseAmountUsd, formatUsd } from '../../core/money';
import { isResource, resourceWords } from '../../core/resources';
import { outcomeOfOwnError } from './call-errors';
import type { PlannedActivity } from './planned-call';
import { refused } from './refused';

/** What an activity cost; `usage` goes into the ledger beside it. */
export interface ActivityCost {
  /** Decimal string of US dollars. */
  costUsd: string;
  usage?: unknown;
}

/** How an activity is paid for. Amounts are decimal strings of US dollars. */
export interface PaidActivity<Args extends unknown[] = never[], Result = never> {
  /** The most that a call may cost, or what that follows from. It is reserved. */
  estimateUsd: string | ((...args: Args) => string | Promise<string>);
  /**
   * What it did cost, by its result; its estimate unless given. An activity that was surely not billed throws a `NotBilledError`; after
   * any other error it is charged at its estimate.
   */
  cost?: (result: Result, ...args: Args) => string | ActivityCost | Promise<string | ActivityCost>;
  /** Which quotas it counts for beside those for `all`, such as `geocoding`; `llm` unless given. */
  resource?: string;
  /** What it is called in the ledger; the activity's name unless given. */
  kind?: string;
}

type AnyPaidActivity = PaidActivity<unknown[], unknown>;

/** @throws ApplicationFailure where its estimate is no amount, or its resource none. */
export async function planNamed(
  { estimateUsd, cost, resource = 'llm', kind }: AnyPaidActivity,
  { name, args }: { name: string; args: unknown[] },
): Promise<PlannedActivity> {
  if (!isResource(resource))
    throw refused('invalid_request', `The resource of ${name} is none: those are ${resourceWords}. No call was made.`);
  const estimate = typeof estimateUsd === 'function' ? await estimateUsd(...args) : estimateUsd;
  const amountUsd = amountOf(estimate, name);
  return {
    amountUsd,
    resource,
    kind: kind ?? name,
    async priced(result) {
      const came = cost ? await cost(result, ...args) : formatUsd(amountUsd);
      const { costUsd, usage } = typeof came === 'string' ? { costUsd: came, usage: undefined } : came;
      return { billed: 'known', costUsd: parseAmountUsd(costUsd), usage };
    },
    failed: outcomeOfOwnError,
  };
}

function amountOf(estimate: string, name: string): bigint {
  try {
    return parseAmountUsd(estimate);
  } catch (error) {
    throw refused('invalid_amount', `The estimate of ${name}: ${(error as Error).message} No call was made.`);
  }
}
