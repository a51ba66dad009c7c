/** What becomes of a call whose workflow Temporal does not show: it is not made, and tried again where Temporal may show it later. */
import type { Context } from '@temporalio/activity';
import { scopeOf } from '../../../workers/plugin/scopes';

const contextOf = (error: Error): Context =>
  ({
    info: { workflowExecution: { workflowId: 'w', runId: 'r' } },
    client: {
      workflow: { getHandle: () => ({ describe: () => Promise.reject(error) }) },
      withDeadline: (_deadline: number, work: () => Promise<unknown>) => work(),
    },
  }) as unknown as Context;

test.each<[string, Error, boolean]>([
  ['nobody answers', new Error('Failed', { cause: { code: 14 } }), false],
  ['it takes too long', new Error('Failed', { cause: { code: 4 } }), false],
  ['it has too much to do', new Error('Failed', { cause: { code: 8 } }), false],
  ['a connection broke', new Error('Failed', { cause: { code: 13 } }), false],
  ['the worker may not ask', new Error('Failed', { cause: { code: 7 } }), true],
  ['its key is not known', new Error('Failed', { cause: { code: 16 } }), true],
  ['it is not there', Object.assign(new Error('None'), { name: 'WorkflowNotFoundError' }), true],
])('where %s', async (_what, error, nonRetryable) => {
  const scope = scopeOf({ tenants: ['ada'], tenantFrom: { memo: 'payer' } });
  await expect(scope(contextOf(error), [])).rejects.toMatchObject({ type: 'authority_unavailable', nonRetryable });
});
