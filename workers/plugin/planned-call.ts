/** An activity that costs money, before it is made: what it may cost at most, and how its result is priced. */
import type { Resource } from '../../core/budget/commands';
import type { Usd } from '../../core/money';
import type { CallOutcome, HeldMoney } from './money';

export interface PlannedActivity {
  amountUsd: Usd;
  resource: Resource;
  kind: string;
  model?: string | undefined;
  priceVersion?: string | undefined;
  /** What the activity is called with, where that is not as it came. */
  args?: unknown[];
  /** Of a call of a model: who is asked, and for what. */
  call?: { provider: string; operation: 'chat' | 'embeddings' };
  /** What it cost, by what it answered. @throws what the user's own function throws. */
  priced(result: unknown, held: HeldMoney): CallOutcome | Promise<CallOutcome>;
  /** What of its answer is kept for the attempt after it, where that is not all. */
  kept?(result: unknown): unknown;
  /** What it cost, by the error that it ended in. */
  failed(error: unknown): CallOutcome;
}
