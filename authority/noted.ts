/** What is noted of a decision for people: its metrics, and who was refused money. */
import type { BatchDecision } from '../core/budget/batch';
import type { BudgetCommand, ReserveAnswer } from '../core/budget/commands';
import type { RecordedBatch } from '../store/budget-batch';
import type { Logger } from '../telemetry/log';
import type { MeasuredDecision } from '../telemetry/metrics';

/** What a decision came to, for the metrics. */
export function measured(
  { tenantId, commands, seconds }: { tenantId: string; commands: readonly BudgetCommand[]; seconds: number },
  { decision }: RecordedBatch,
): MeasuredDecision {
  const answers: Partial<Record<ReserveAnswer['decision'], number>> = {};
  for (const answer of newAnswers(decision)) answers[answer.decision] = (answers[answer.decision] ?? 0) + 1;
  const resources = new Map(decision.reservations.map(({ operationId, request }) => [operationId, request?.resource]));
  const posted = decision.ledger.map(({ operationId, amountUsd, settlement }) => ({
    resource: resources.get(operationId) ?? ('llm' as const),
    amountUsd,
    isUnverified: settlement === 'unverified',
  }));
  const overruns = decision.alerts.flatMap(({ kind, overrun }) =>
    kind === 'overrun' && overrun ? [resources.get(overrun.operationId) ?? ('llm' as const)] : [],
  );
  const limited = decision.quotas.map(({ resourceType }) => resourceType);
  return { tenantId, seconds, commands: commands.length, answers, posted, overruns, limited };
}

/** What this batch decided: who asks again is answered from the record, and is neither counted nor logged twice. */
const newAnswers = ({ answers, repeats }: BatchDecision): ReserveAnswer[] =>
  answers.filter((answer) => answer !== undefined).filter((answer) => !repeats.has(answer));

/** Who was refused money. What is granted shows in the ledger, and by what is called with it. */
export function logDenials({ tenantId, log }: { tenantId: string; log: Logger }, { decision }: RecordedBatch) {
  for (const answer of newAnswers(decision)) {
    if (answer.decision !== 'denied') continue;
    const { operationId, quota } = answer;
    const { scope, resourceType, limitUsd, spentUsd } = quota;
    log.info({ tenantId, operationId, scope, resourceType, limitUsd, spentUsd }, 'a reservation was denied');
  }
}
