/** Runs as a backend has them: begun over HTTP, and waited for. */
import type { RunView } from '../../api/runs/schemas';
import type { Installation } from './installation';
import { until } from './stack';

/** Begins a run of a tenant, of one with $50 where none is named. */
export async function beginRun({ stack, api }: Installation, body: object, tenantId?: string) {
  const payer = tenantId ?? (await stack.tenant('50'));
  const key = await api.keyOf(payer);
  const { status, body: answer } = await api.call('POST', '/v1/runs', { key, body });
  expect([status, answer]).toEqual([202, expect.anything()]);
  const { runId, workflowId } = answer as { runId: string; workflowId: string };
  const ended = (timeoutMs?: number): Promise<RunView> =>
    until(
      'the run is over',
      async () => {
        const { body: run } = await api.call('GET', `/v1/runs/${runId}`, { key });
        return run.status === 'running' ? undefined : (run as unknown as RunView);
      },
      timeoutMs,
    );
  return { tenantId: payer, key, runId, workflowId, ended };
}

/** Begins a run and waits until it is over, with nothing held; how it ended. */
export async function endedRun(made: Installation, body: object, tenantId?: string) {
  const { ended, ...begun } = await beginRun(made, body, tenantId);
  const run = await ended();
  expect(await made.stack.books(begun.tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  return { ...begun, run };
}
