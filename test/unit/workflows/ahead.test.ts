/** What ends reservations and waits goes ahead of what asks for new ones, where both wait for a worker (O6, docs/decisions/0054). */
import { WorkflowScene, type Call, type Reply } from '../../support/workflow-scene';
import { proxyActivities } from '@temporalio/workflow';
import { Budget } from '../../../workflows/budget/with-budget';

/** An authority that answers patiently only: it grants, then denies; and a call that nobody knows the end of. */
function answering({ type, request }: Call, grants: number[]): Reply {
  const { operationId, operationIds } = request as { operationId: string; operationIds: string[] };
  switch (type) {
    case 'reserveQuickly':
      return { returns: null };
    case 'reserve':
      return grants.shift() === undefined
        ? { open: true }
        : { returns: { decision: 'granted', operationId, grantedUsd: '1', partial: false, expiresAt: '' } };
    case 'pay':
      return { lost: true };
    case 'commit':
      return { returns: { outcome: 'billed', costUsd: '0.4', result: 'kept' } };
    case 'settleQuickly':
      return { returns: operationIds };
    case 'release':
    case 'confirmSettled':
      return { returns: undefined };
    default:
      throw new Error(`There is no activity ${type}.`);
  }
}

test.each([
  ['a run', 3, 2],
  ['a conversation', 2, 1],
  ['a workflow of an older start', undefined, 2],
  ['one that is first already', 1, 1],
])('of %s, whose priority is %s, what ends reservations has %s', async (_what, own, ahead) => {
  const asked = new Map<string, number | undefined>();
  const grants = [1];
  const answer = (call: Call): Reply => {
    asked.set(call.type, call.priorityKey);
    return answering(call, grants);
  };
  const scene = new WorkflowScene(answer, undefined, own);
  await scene.start(async () => {
    const { pay } = proxyActivities<{ pay: () => Promise<void> }>({
      startToCloseTimeout: '1 minute',
      retry: { maximumAttempts: 1 },
    });
    const budget = new Budget({ tenantId: 'acme' });
    const paid = { resource: 'llm' as const, kind: 'llm.call', amountUsd: '1', priceVersion: 'p1', ttlSeconds: 60 };
    await budget.withBudget(paid, pay);
    // Nobody answers the second, and it is cancelled.
    await budget.withBudget(paid, pay).catch(() => undefined);
    await budget.settled();
  });
  await scene.moveTo(1_000);
  await scene.cancel();
  await scene.moveTo(2_000);
  expect(Object.fromEntries(asked)).toEqual({
    reserveQuickly: undefined,
    reserve: undefined,
    pay: undefined,
    commit: ahead,
    release: ahead,
    settleQuickly: undefined,
    confirmSettled: ahead,
  });
});
