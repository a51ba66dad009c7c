/** What one client takes of a process that answers all: requests that it does not wait for, answers that it does not read, large ones. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { startApi } from '../../api/server';
import { socketLimits } from '../../api/http/sockets';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { spendInLargeRows } from '../support/large-rows';
import { until, type TestStack } from '../support/stack';

const MiB = 1024 * 1024;

describe('a client that takes much', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  /** Processor time of this process, which serves the API, for twenty answers: the least of five times, for all else that it does. */
  const costOf = async (path: string): Promise<number> => {
    const ask = async (): Promise<void> => {
      const response = await api.request(path, { key: '' });
      expect(response.status).toBe(200);
      await response.arrayBuffer();
    };
    const times: number[] = [];
    for (let time = 0; time < 5; time += 1) {
      await ask();
      const before = process.cpuUsage();
      for (let at = 0; at < 20; at += 1) await ask();
      const { user, system } = process.cpuUsage(before);
      times.push(user + system);
    }
    return Math.min(...times);
  };
  /** A connection that asks many times in one write; what it reads is counted when it is read. */
  const asking = (path: string, times: number, { key, port = api.port }: { key?: string; port?: number } = {}) => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    const authorization = key === undefined ? '' : `authorization: Bearer ${key}\r\n`;
    socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n${authorization}\r\n`.repeat(times));
    return socket;
  };
  const answersOf = async (socket: Socket, enough: number): Promise<number> => {
    let text = '';
    socket.on('data', (data: Buffer) => (text += data.toString('latin1')));
    const count = (): number => text.split('HTTP/1.1 200').length - 1;
    await until('enough is answered, or it is ended', () => Promise.resolve(count() >= enough || socket.closed));
    return count();
  };
  /** A conversation with turns and messages of a hundred thousand characters each. */
  const longConversation = async (tenantId: string, count: number): Promise<string> => {
    const runId = randomUUID();
    await stack.admin.query(
      `WITH made AS (
         INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, options, type, status, ended_at)
         VALUES ($1::uuid, $2::text, 'none/' || $1::text, 'm', '', '{}', 'conversation', 'completed', now())),
       turns AS (
         INSERT INTO copilot_internal.turns (turn_id, run_id, tenant_id, number, message, status, ended_at)
         SELECT gen_random_uuid(), $1::uuid, $2, n, repeat(md5(n::text), 3125), 'completed', now() FROM generate_series(1, $3::integer) AS n),
       events AS (
         INSERT INTO copilot_internal.run_events (run_id, tenant_id, sequence, event_key, type, data)
         SELECT $1::uuid, $2, n, 'e' || n, 'model.replied', jsonb_build_object('operationId', gen_random_uuid(), 'text', repeat(md5(n::text), 3125))
         FROM generate_series(1, $3::integer) AS n)
       INSERT INTO copilot_internal.transcript_messages (run_id, tenant_id, sequence, role, content)
       SELECT $1::uuid, $2, n, 'user', jsonb_build_array(jsonb_build_object('type', 'text', 'text', repeat(md5(n::text), 3125)))
       FROM generate_series(1, $3::integer) AS n`,
      [runId, tenantId, count],
    );
    return runId;
  };

  test('asks for documents that are made once: they cost about what any answer does', async () => {
    const plain = await costOf('/healthz');
    for (const path of ['/openapi.json', '/docs', '/docs/reference.css'])
      expect(await costOf(path)).toBeLessThan(plain * 5);
  });

  test('sends a few requests ahead of their answers, and is ended for very many', async () => {
    const few = asking('/healthz', 10);
    expect(await answersOf(few, 10)).toBe(10);
    few.destroy();
    const many = asking('/healthz', 1_000);
    expect(await answersOf(many, 1_000)).toBeLessThanOrEqual(socketLimits.pipelinedMax);
    await until('the connection is ended', () => Promise.resolve(many.closed));
    expect((await api.request('/healthz', { key: '' })).status).toBe(200);
  });

  test('does not read: what it asks for next is refused, others are answered, and its connections end', async () => {
    const limits = { ...socketLimits, takenMs: 6_000, perOwnerBytes: 4 * MiB };
    const limited = await startApi({ ...stack.api, host: '127.0.0.1', port: 0, socketLimits: limits });
    const [tenantId, other] = [await stack.tenant('10'), await stack.tenant('10')];
    const [key, others] = await Promise.all([api.keyOf(tenantId), api.keyOf(other)]);
    const path = `/v1/conversations/${await longConversation(tenantId, 60)}/messages?limit=500`;
    const sockets = [1, 2, 3].map(() => asking(path, 4, { key, port: limited.port }).pause());
    const ends = sockets.map((socket) => once(socket, 'close'));
    const ask = (as: string): Promise<Response> =>
      fetch(`${limited.url}/v1/usage`, { headers: { authorization: `Bearer ${as}` } });
    await until('it is refused', async () => (await ask(key)).status === 429);
    expect((await ask(others)).status).toBe(200);
    await until('it is let in again', async () => (await ask(key)).status === 200);
    for (const socket of sockets) socket.resume();
    await Promise.all(ends);
    await limited.close();
  });

  test('says that large bodies come, with others, until there is no room: what others send is taken', async () => {
    const tenants = await Promise.all(Array.from({ length: 6 }, () => stack.tenant('10')));
    const keys = await Promise.all(tenants.map((tenantId) => api.keyOf(tenantId)));
    const told: string[] = [];
    const announced = (path: string, key: string, length: string): Socket => {
      const socket = connect(api.port, '127.0.0.1').on('error', () => undefined);
      const headers = `host: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\n${length}`;
      socket.write(`POST ${path} HTTP/1.1\r\n${headers}\r\n\r\n1\r\n{\r\n`);
      return socket.on('data', (data: Buffer) => told.push(data.toString()));
    };
    const [calm = '', ...slow] = keys;
    // They say that 30 MB come, or do not say what comes, and hardly anything does.
    const sockets = slow.flatMap((key) => [
      announced('/v1/runs', key, 'content-length: 29000000'),
      ...Array.from({ length: 5 }, () => announced('/v1/quota-checks', key, 'transfer-encoding: chunked')),
    ]);
    await until('there is no room', () => told.some((text) => /^HTTP\/1.1 429[^]*take all the room/.test(text)));
    const send = async (path: string, body: object): Promise<number> => {
      const text = new Blob([JSON.stringify(body)]);
      const headers = { authorization: `Bearer ${calm}`, 'content-type': 'application/json' };
      const order = { method: 'POST', headers, body: text.stream(), duplex: 'half' };
      return (await fetch(`${api.url}${path}`, order as never)).status;
    };
    const reserve = { operationId: randomUUID(), resource: 'llm', amountUsd: '0.1' };
    expect(await send('/v1/reservations', reserve)).toBe(201);
    expect(await send('/v1/reservations', { ...reserve, kind: 'x'.repeat(400_000) })).toBe(400);
    // A file needs the room of those that would not come in time.
    const file = { name: 'a.txt', contentBase64: Buffer.alloc(12_000_000, 'a').toString('base64') };
    await until('it is taken', async () => (await send('/v1/runs', { task: 'x', file })) === 202, 10_000);
    expect(told.some((text) => /^HTTP\/1.1 429[^]*came so slowly/.test(text))).toBe(true);
    for (const socket of sockets) socket.destroy();
    await until('there is room', async () => (await send('/v1/runs', { task: 'x', file })) === 202, 5_000);
  });

  test('says much of what its calls used: the cost is taken, and not all that comes with it is kept', async () => {
    const tenantId = await stack.tenant('10');
    const key = await api.keyOf(tenantId);
    const operationId = randomUUID();
    const commit = (usage: unknown): Promise<{ status: number }> =>
      api.call('POST', `/v1/reservations/${operationId}/commit`, { key, body: { costUsd: '0.2', usage } });
    const body = { operationId, resource: 'llm', amountUsd: '1' };
    expect((await api.call('POST', '/v1/reservations', { key, body })).status).toBe(201);
    expect((await commit({ text: 'x'.repeat(1_900_000) })).status).toBe(200);
    await until('it is in the ledger', async () => {
      const { body: ledger } = await api.call('GET', '/v1/cost-records', { key });
      const [record] = ledger.records as { amountUsd: string; usage: unknown }[];
      if (record === undefined) return false;
      expect(record).toMatchObject({
        amountUsd: '0.2',
        usage: { leftOut: expect.stringContaining('16384') as string },
      });
      return true;
    });
  });

  test('stored much: lists of it come in pages of some megabytes, and all of it comes', async () => {
    const tenantId = await stack.tenant('10');
    const key = await api.keyOf(tenantId);
    await spendInLargeRows(stack, tenantId, 30);
    const runId = await longConversation(tenantId, 200);
    /** Follows a list to its end; answers how many there were, and the largest answer. */
    const follow = async (path: string, ...lists: string[]) => {
      const counts = lists.map(() => 0);
      let largest = 0;
      for (let cursor: string | null = ''; cursor !== null;) {
        const text = await (await api.request(`${path}?limit=1000${cursor}`, { key })).text();
        const body = JSON.parse(text) as Record<string, unknown>;
        for (const [at, list] of lists.entries()) counts[at] = (counts[at] ?? 0) + (body[list] as unknown[]).length;
        largest = Math.max(largest, text.length);
        cursor = typeof body.nextCursor === 'string' ? `&cursor=${body.nextCursor}` : null;
      }
      return { counts, isSmall: largest < 18 * MiB };
    };
    expect(await follow('/v1/cost-records', 'records')).toEqual({ counts: [30], isSmall: true });
    const said = await follow(`/v1/conversations/${runId}/messages`, 'messages', 'turns');
    expect(said).toEqual({ counts: [200, 200], isSmall: true });
    const csv = await api.request('/v1/cost-records?format=csv', { key });
    expect((await csv.text()).trim().split('\r\n')).toHaveLength(31);
    const events = await api.request(`/v1/conversations/${runId}/events`, { key });
    let [seen, tail] = [0, ''];
    const reader = events.body?.pipeThrough(new TextDecoderStream()).getReader();
    while (reader && seen < 200) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (tail + value).split('event: model.replied\n');
      seen += parts.length - 1;
      tail = (parts.at(-1) ?? '').slice(-30);
    }
    expect(seen).toBe(200);
    await reader?.cancel();
  });
});
