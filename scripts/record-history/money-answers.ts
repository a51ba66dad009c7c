/** What people answer a run that asks them for money. */
import { answerMoneySignal } from '../../contracts/messages';
import type { MoneyAnswerSignal } from '../../core/inputs/read-signals';
import { listMoneyRequests } from '../../store/money-requests';
import { until, type TestStack } from '../../test/support/stack';
import type { CaseName } from './names';

type Said = Omit<MoneyAnswerSignal, 'requestId'>;

const answers: Partial<Record<CaseName, Said[]>> = {
  'run-granted': [{ decision: 'grant', amountUsd: '0.0001' }, { decision: 'grant' }],
  'run-asks-for-all': [{ decision: 'grant', amountUsd: '0.012' }, { decision: 'grant' }],
  'run-more-refused': [{ decision: 'refuse', reason: 'no more' }],
  'run-unanswered': [],
  'talk-unanswered': [],
  'talk-granted': [{ decision: 'grant' }],
  'talk-more-refused': [{ decision: 'refuse', reason: 'no more' }],
};
export const isAsking = (name: CaseName): boolean => Object.hasOwn(answers, name);

/** Each answer of a case, by a signal as from Temporal UI, to what is asked then. */
export async function answerAsked(
  stack: TestStack,
  name: CaseName,
  { tenantId, workflowId }: { tenantId: string; workflowId: string },
): Promise<void> {
  // It needs no sandbox, whose limit it would ask for too.
  if (isAsking(name)) stack.anthropic.knobs.replies = [{ text: 'done' }];
  const asked = async (): Promise<string | undefined> =>
    (await listMoneyRequests(stack.pool, { tenantId })).requests[0]?.requestId;
  for (const said of answers[name] ?? []) {
    const requestId = await until('it asks', asked);
    await stack.temporal.workflow.getHandle(workflowId).signal(answerMoneySignal, { requestId, ...said });
    await until('it was heard', async () => (await asked()) !== requestId);
  }
}
