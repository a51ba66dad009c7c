/** What is summed and exported is all of it (XD4), and a stream that is taken up again repeats nothing (XD10). */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createSpendlockClient } from '../../client';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

describe('whole answers', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });

  /** Ledger lines of a cent each, of as many users as are given. */
  const spend = async (tenantId: string, lines: number, users: number): Promise<void> => {
    await stack.admin.query(
      `INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, user_id, entry, kind, resource, amount_usd, settlement, posted_at)
       SELECT $1, gen_random_uuid(), 'user-' || (n % $3), 'commit', 'model_call', 'llm', 0.01, 'actual', now()
       FROM generate_series(1, $2) AS n`,
      [tenantId, lines, users],
    );
  };

  test('XD4: usage of more groups than one answer lists is summed whole, and says that it is cut', async () => {
    const tenantId = await stack.tenant('1000');
    await spend(tenantId, 1_003, 1_003);
    const key = await api.keyOf(tenantId);
    const { body } = await api.call('GET', '/v1/usage?groupBy=user', { key });
    expect(body).toMatchObject({ costUsd: '10.03', groups: 1_003, isCut: true });
    expect(body.lines).toHaveLength(1_002);
    const csv = await (await api.request('/v1/usage?groupBy=user&format=csv', { key })).text();
    expect(csv.trimEnd().split('\r\n')).toHaveLength(1_004);
    const few = await api.call('GET', '/v1/usage?groupBy=kind', { key });
    expect(few.body).toMatchObject({ costUsd: '10.03', groups: 1, isCut: false });
  });

  test('XD4: a ledger of more than a hundred thousand lines is exported to its end', async () => {
    const tenantId = await stack.tenant('10000');
    await spend(tenantId, 100_001, 3);
    const key = await api.keyOf(tenantId);
    const csv = await (await api.request('/v1/cost-records?format=csv', { key })).text();
    expect(csv.trimEnd().split('\r\n')).toHaveLength(100_002);
  });

  test.each(['/v1/usage', '/v1/cost-records', '/v1/cost-records?format=csv'])(
    '%s of a span whose ends are the wrong way round is refused, and does not look as if nothing was spent',
    async (path) => {
      const key = await api.keyOf(await stack.tenant('10'));
      const span = `${path.includes('?') ? '&' : '?'}from=2026-11-02&to=2026-11-01`;
      expect(await api.call('GET', `${path}${span}`, { key })).toMatchObject({ status: 400 });
    },
  );

  test('a correction downwards is a number in the export, and what a spreadsheet takes for a formula is not one', async () => {
    const tenantId = await stack.tenant('10');
    const client = createSpendlockClient({ baseUrl: api.url, apiKey: await api.keyOf(tenantId) });
    await stack.admin.query(
      `INSERT INTO copilot_internal.cost_records
         (tenant_id, operation_id, user_id, entry, kind, resource, amount_usd, settlement, reason, author, posted_at)
       SELECT $1, '5f0c9a53-7d0e-4b1c-9f39-3a1f2a3c4d5e', '-1+cmd', entry, 'model_call', 'llm', amount, 'actual', reason, 'ada', now()
       FROM (VALUES ('commit', 0.5, NULL), ('adjustment', -0.3, '=1+1')) AS entries (entry, amount, reason)`,
      [tenantId],
    );
    const [columns = [], ...lines] = (await client.usage.exportCsv())
      .trimEnd()
      .split('\r\n')
      .map((line) => line.split(','));
    const column = (name: string): string[] => lines.map((line) => line[columns.indexOf(name)] ?? '');
    expect(column('amountUsd')).toEqual(['0.5', '-0.3']);
    expect(column('userId')).toEqual(["'-1+cmd", "'-1+cmd"]);
    expect(column('reason')).toEqual(['', "'=1+1"]);
  });

  test('XD10: events of a run and of a conversation repeat nothing after a cut within a reply', async () => {
    const operationId = 'op';
    const event = (type: string, data: object, id?: number): string =>
      `${id === undefined ? '' : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
    const piece = (position: number, text: string): string => event('delta', { operationId, position, text });
    // As the API answers: whoever comes back gets the reply from its beginning.
    const parts = [
      event('run.started', {}, 1) + piece(0, 'Once ') + piece(5, 'upon '),
      piece(0, 'Once upon a ') +
        piece(12, 'time') +
        event('model.replied', {}, 2) +
        event('done', { status: 'completed' }),
    ];
    const counts = new Map<string, number>();
    const server = createServer((asked: IncomingMessage, answer: ServerResponse) => {
      const path = asked.url ?? '';
      const at = counts.get(path) ?? 0;
      counts.set(path, at + 1);
      answer.writeHead(200, { 'content-type': 'text/event-stream' });
      answer.end(parts[at]);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const client = createSpendlockClient({
      baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      apiKey: 'k',
    });
    for (const stream of [client.runs.events('one'), client.conversations.events('two')]) {
      let text = '';
      const ids: number[] = [];
      for await (const { type, data, id } of stream) {
        if (type === 'delta') text += String(data.text);
        if (id !== undefined) ids.push(id);
      }
      expect(text).toBe('Once upon a time');
      expect(ids).toEqual([1, 2]);
    }
    await new Promise((resolve) => server.close(resolve));
  });
});
