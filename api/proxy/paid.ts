/** A call that its money is held for, and what it came to: written, counted and logged in one place. */
import { formatUsd } from '../../core/money';
import type { ModelPrice } from '../../core/prices/prices';
import type { OperationKey } from '../../store/reservations';
import type { Logger } from '../../telemetry/log';
import { noteModelCall } from '../../telemetry/model-calls';
import type { traceOf } from '../../telemetry/spans';
import type { Held, ProxyMoney } from './money';
import type { PricedAnswer } from './outcome';
import type { CallWire } from './wire';

export interface PaidFor {
  call: CallWire;
  held: Held;
  price: ModelPrice;
  prices: readonly ModelPrice[];
  startedMs: number;
  /** What its caller's headers named; undefined where spans go nowhere. */
  trace: ReturnType<typeof traceOf>;
  isSettled: boolean;
}

export const keyOf = ({ held: { tenantId, operationId } }: PaidFor): OperationKey => ({ tenantId, operationId });

/** Once for each call. */
export function settle(
  paid: PaidFor,
  { outcome, counted, usage }: PricedAnswer,
  { money, log }: { money: ProxyMoney; log: Logger },
): void {
  const { held, call, startedMs } = paid;
  const { provider, model } = paid.price;
  const key = keyOf(paid);
  paid.isSettled = true;
  money.settle(held, outcome);
  const seconds = (performance.now() - startedMs) / 1000;
  const { operation } = call;
  const ended = { provider, model, kind: 'llm.call' as const, seconds, outcome: counted, usage, operation };
  noteModelCall(ended, { ...key, under: paid.trace });
  const costUsd = outcome.billed === 'known' ? { costUsd: formatUsd(outcome.costUsd) } : {};
  const said = { ...key, model, seconds, billed: outcome.billed, ...costUsd };
  log.info(said, 'a model call was passed on');
}
