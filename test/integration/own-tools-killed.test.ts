/** A worker that is killed while it waits for a tool: the tool is not called a second time, and what it may have cost is on record. */
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';
import type { TestApi } from '../support/api';
import { ToolAddresses } from '../support/tool-servers';

describe.each([
  ['with a price', '0.1', [{ usd: '0.1', settlement: 'unverified' }]],
  ['without one', undefined, []],
])('a tool %s whose worker is killed', (_, priceUsd, costs) => {
  let stack: TestStack;
  let api: TestApi;
  let addresses: ToolAddresses;
  withInstallation((made) => ({ stack, api } = made), { worker: false });
  beforeAll(async () => void (addresses = await ToolAddresses.start()));
  afterAll(() => addresses.close());

  test('is called once; its model is told that nobody knows, and the run goes on', async () => {
    const tenantId = await stack.tenant('5');
    const first = await stack.startWorker();
    const inputSchema = { type: 'object', properties: {} };
    const tool = {
      tenantId,
      name: 'slow',
      kind: 'http',
      url: `${addresses.url}/hangs`,
      description: 'Slow.',
      inputSchema,
    };
    const added = await api.call('POST', '/v1/tools', { body: { ...tool, priceUsd, timeoutSeconds: 120 } });
    expect(added.status).toBe(201);
    stack.anthropic.knobs.replies = [{ text: '', tools: [{ name: 'slow', input: {} }] }, { text: 'So it is.' }];
    const started = await stack.start({ tenantId, tools: [{ name: 'slow' }] as never });
    await until('the tool is called', () => Promise.resolve(addresses.heard.length > 0));
    await first.kill();
    await stack.startWorker();
    const run = await stack.finish({ ...started, tenantId });
    expect(run.status).toBe('completed');
    expect(addresses.heard).toHaveLength(1);
    const { rows } = await stack.admin.query(
      `SELECT content -> 0 ->> 'content' AS told FROM copilot_internal.transcript_messages
       WHERE run_id = $1 AND content -> 0 ->> 'type' = 'tool_result'`,
      [started.runId],
    );
    expect(rows).toEqual([{ told: expect.stringContaining('It was not called again.') as string }]);
    const paid = await stack.admin.query(
      `SELECT trim_scale(amount_usd)::text AS usd, settlement FROM copilot_internal.cost_records
       WHERE run_id = $1 AND kind = 'tool.call' AND amount_usd > 0`,
      [started.runId],
    );
    expect(paid.rows).toEqual(costs);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  }, 120_000);
});
