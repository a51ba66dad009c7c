import { budgetWorkflowId } from '../../contracts/messages';
import type { FaultPoint } from '../../activities/budget/paid-calls';
import { startTestApi } from '../support/api';
import { TestStack, until } from '../support/stack';
import { randomUUID } from 'node:crypto';

describe('kill -9 of the worker', () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
  });
  afterAll(() => stack.stop());

  const cases: { moment: string; fault: FaultPoint; calls: number; settlements: (string | null)[] }[] = [
    { moment: 'between reserve and call', fault: 'llm.before-claim', calls: 1, settlements: ['released', 'actual'] },
    {
      moment: 'after the claim, before the call',
      fault: 'llm.claimed',
      calls: 1,
      settlements: ['unverified', 'actual'],
    },
    { moment: 'during the call', fault: 'llm.streaming', calls: 2, settlements: ['unverified', 'actual'] },
    { moment: 'between call and commit', fault: 'llm.outcome-written', calls: 1, settlements: ['actual'] },
  ];

  test.each(cases)(
    '$moment: after a restart the run finishes, and ledger, balances and authority agree',
    async ({ fault, calls, settlements }) => {
      const before = stack.anthropic.calls().billable;
      const tenantId = await stack.tenant('5');
      const doomed = await stack.startWorker({ fault });
      const started = await stack.start({ tenantId });
      await doomed.gone;
      expect(doomed.process.signalCode).toBe('SIGKILL');
      const worker = await stack.startHosted();
      const run = await stack.finish({ tenantId, ...started });

      expect(run.status).toBe('completed');
      expect(run.steps.map(({ settlement }) => settlement)).toEqual(settlements);
      expect(stack.anthropic.calls().billable - before).toBe(calls);
      const books = await stack.books(tenantId);
      expect(books).toEqual({ ledgerUsd: run.costUsd, spentUsd: run.costUsd, reservedUsd: '0', openReservations: 0 });
      await stack.authorityKnows(tenantId, { spentUsd: books.spentUsd, reservedUsd: '0' });
      await worker.stop();
    },
  );

  test('while a sandbox is made: it is found and ended, and its seconds are paid', async () => {
    const tenantId = await stack.tenant('5');
    const doomed = await stack.startWorker({ fault: 'sandbox.created' });
    const started = await stack.start({
      tenantId,
      task: 'Profile this file.',
      file: { name: 'a.csv', content: 'a\n1\n' },
    });
    await doomed.gone;
    const worker = await stack.startHosted();
    const run = await stack.finish({ tenantId, ...started });
    expect(run.status).toBe('completed');
    expect(run.steps.filter(({ resource }) => resource === 'e2b').map(({ settlement }) => settlement)).toEqual([
      'actual',
      'actual',
    ]);
    expect(stack.e2b.calls().alive).toEqual([]);
    expect(await stack.books(tenantId)).toMatchObject({
      ledgerUsd: run.costUsd,
      reservedUsd: '0',
      openReservations: 0,
    });
    await worker.stop();
  });

  test('an authority that was ended before it decided: whoever waits asks again, and is answered', async () => {
    const api = await startTestApi(stack);
    const tenantId = await stack.tenantThat('wait', 30_000);
    // Temporal takes the request, and nobody is there to decide it.
    const asking = api.call('POST', '/v1/reservations', {
      body: { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd: '1' },
    });
    const authority = stack.temporal.workflow.getHandle(budgetWorkflowId(tenantId));
    await until('it was asked', () => authority.describe().catch(() => undefined));
    await authority.terminate('by a test');
    const worker = await stack.startHosted();
    expect(await asking).toMatchObject({ status: 201, body: { grantedUsd: '1' } });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '1', openReservations: 1 });
    await worker.stop();
    await api.close();
  });
});
