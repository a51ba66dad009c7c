/** The MCP server, over HTTP and over standard input and output, with the protocol's own client: both say and do what the API does. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as Postgres } from 'pg';
import { startTestApi, type TestApi } from '../support/api';
import { command } from '../support/cli';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

const bin = path.join(__dirname, '..', '..', 'cli', 'spendlock.cjs');

interface Told {
  isError: boolean;
  text: string;
  body: Record<string, unknown>;
}

describe('the MCP server', () => {
  let stack: TestStack;
  let api: TestApi;
  const open: Client[] = [];
  withInstallation((made) => ({ stack, api } = made));
  afterEach(async () => {
    await Promise.all(open.splice(0).map((client) => client.close()));
  });

  type Way = 'http' | 'stdio';
  type Era = 'auto' | 'legacy';
  const connected = async (way: Way, key: string, era: Era = 'auto'): Promise<Client> => {
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: era } });
    await client.connect(
      way === 'http'
        ? new StreamableHTTPClientTransport(new URL(`${api.url}/v1/mcp`), {
            requestInit: { headers: { authorization: `Bearer ${key}` } },
          })
        : new StdioClientTransport({
            command: process.execPath,
            args: [bin, 'mcp'],
            env: { PATH: process.env.PATH ?? '', SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: key },
            stderr: 'pipe',
          }),
    );
    open.push(client);
    return client;
  };
  const call = async (client: Client, name: string, asked: object = {}): Promise<Told> => {
    const { isError = false, content, structuredContent } = await client.callTool({ name, arguments: { ...asked } });
    const [first] = content;
    if (first?.type !== 'text') throw new Error('no text');
    return { isError, text: first.text, body: structuredContent as Told['body'] };
  };

  describe.each<[Way, Era]>([
    ['http', 'auto'],
    ['http', 'legacy'],
    ['stdio', 'auto'],
    ['stdio', 'legacy'],
  ])('over %s, of the era %s', (way, era) => {
    test('asks what is left and what a call costs, reserves, is denied, commits and gives back', async () => {
      const tenantId = await stack.tenant('1');
      const client = await connected(way, await api.keyOf(tenantId, 'agent'), era);
      const { tools } = await client.listTools();
      expect(tools.map(({ name }) => name)).toEqual([
        'money_left',
        'call_cost',
        'reserve_money',
        'commit_cost',
        'release_money',
        'show_reservation',
        'money_requests',
      ]);
      expect(client.getInstructions()).toContain('reserve_money');

      expect((await call(client, 'money_left')).body).toMatchObject({
        allowed: true,
        quotas: expect.arrayContaining([
          expect.objectContaining({ resourceType: 'all', limitUsd: '1', remainingUsd: '1' }),
        ]) as unknown,
      });
      const price = { model: 'claude-haiku-4-5', inputTokens: 1_000, maxOutputTokens: 1_000 };
      expect((await call(client, 'call_cost', price)).body).toMatchObject({ estimatedCostUsd: '0.006' });
      const ofLabel = { scope: 'label', scopeId: 'team:labs', resourceType: 'llm', limitUsd: '0.001' } as const;
      await api.admin.tenants.setQuotas(tenantId, [ofLabel]);
      const labels = { team: 'labs' };
      expect((await call(client, 'money_left', { labels })).body).toMatchObject({
        quotas: expect.arrayContaining([expect.objectContaining({ scopeId: 'team:labs' })]) as unknown,
      });
      expect((await call(client, 'call_cost', { ...price, labels })).text).toMatch(/label team:labs/);

      const first = await call(client, 'reserve_money', {
        amountUsd: '0.75',
        resource: 'geocoding',
        kind: 'geocoding.lookup',
        labels: { team: 'maps' },
      });
      expect(first).toMatchObject({ isError: false, body: { decision: 'granted', grantedUsd: '0.75' } });
      const denied = await call(client, 'reserve_money', { amountUsd: '0.5' });
      expect(denied).toMatchObject({ isError: true, body: { error: 'quota_exceeded' } });
      expect(denied.text).toMatch(/^quota_exceeded: .*\$0\.25/);
      const { operationId } = first.body;
      expect((await call(client, 'commit_cost', { operationId, costUsd: '0.7' })).isError).toBe(false);
      const second = await call(client, 'reserve_money', { amountUsd: '0.3' });
      expect((await call(client, 'release_money', { operationId: second.body.operationId })).isError).toBe(false);
      expect((await call(client, 'show_reservation', { operationId })).body).toMatchObject({
        status: 'committed',
        committedUsd: '0.7',
        resource: 'geocoding',
        kind: 'geocoding.lookup',
        labels: { team: 'maps' },
      });
      await until('all is in the books', async () => (await stack.books(tenantId)).reservedUsd === '0');
      expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0.7', ledgerUsd: '0.7' });
    });
  });

  test('work of many calls reserves an envelope, and each call as a part of it, whatever others take', async () => {
    const tenantId = await stack.tenant('10');
    const agent = await connected('http', await api.keyOf(tenantId, 'agent'));
    const envelope = await call(agent, 'reserve_money', { amountUsd: '6', envelope: true, resources: ['geocoding'] });
    expect(envelope).toMatchObject({ isError: false, body: { grantedUsd: '6' } });
    const { operationId: parentOperationId } = envelope.body;
    expect((await call(agent, 'reserve_money', { amountUsd: '4' })).isError).toBe(false);
    const part = await call(agent, 'reserve_money', { amountUsd: '2', resource: 'geocoding', parentOperationId });
    expect(part).toMatchObject({ isError: false, body: { grantedUsd: '2', parentOperationId } });
    await call(agent, 'commit_cost', { operationId: part.body.operationId, costUsd: '1.5' });
    await until('the envelope has what was not needed', async () => {
      const { body } = await call(agent, 'show_reservation', { operationId: parentOperationId });
      return (body.envelope as { restUsd: string }).restUsd === '4.5';
    });
    const beyond = await call(agent, 'reserve_money', { amountUsd: '5', parentOperationId });
    expect(beyond).toMatchObject({ isError: true, body: { error: 'envelope_exceeded' } });
    expect(beyond.text).toContain('$4.5 is left');
    const release = { amountUsd: '1', envelope: true, onExpiry: 'release' };
    expect(await call(agent, 'reserve_money', release)).toMatchObject({ body: { error: 'envelope_refused' } });
    expect((await call(agent, 'release_money', { operationId: parentOperationId })).isError).toBe(false);
    await until('only the other call holds', async () => (await stack.books(tenantId)).reservedUsd === '4');
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '1.5', ledgerUsd: '1.5' });
  });

  test('an agent sees what denied runs of its tenant ask people for, and what they answered; of no other tenant', async () => {
    const [tenantId, others] = [await stack.tenant('0.000001'), await stack.tenant('1')];
    const agent = await connected('http', await api.keyOf(tenantId, 'agent'));
    expect((await call(agent, 'money_requests')).body).toEqual({ requests: [], nextCursor: null });
    const { runId } = await stack.start({ tenantId, onDenied: 'ask' });
    const asked = await until('it asks', async () => {
      const { requests } = (await call(agent, 'money_requests')).body as { requests: Record<string, unknown>[] };
      return requests[0];
    });
    expect(asked).toMatchObject({ runId, status: 'pending', kind: 'llm.call' });
    const other = await connected('http', await api.keyOf(others, 'agent'));
    expect((await call(other, 'money_requests', { runId })).body).toMatchObject({ requests: [] });
    expect(await call(other, 'money_requests', { tenantId })).toMatchObject({ isError: true });
    const answer = { tenantId, decision: 'refuse', reason: 'Not this month.' };
    await api.call('POST', `/v1/money-requests/${String(asked.requestId)}`, { body: answer });
    expect((await call(agent, 'money_requests', { runId })).body).toMatchObject({ requests: [{ status: 'refused' }] });
    expect((await call(agent, 'money_requests')).body).toMatchObject({ requests: [] });
  });

  test.each<Way>(['http', 'stdio'])('over %s a key does no more than by the API', async (way) => {
    const [mine, others] = [await stack.tenant('1'), await stack.tenant('1')];
    const reserved = await api.call('POST', '/v1/reservations', {
      key: await api.keyOf(others, 'agent'),
      body: { operationId: '5f8e8b3c-6a0c-4c56-9df8-1a2b3c4d5e6f', resource: 'llm', amountUsd: '0.5' },
    });
    expect(reserved.status).toBe(201);
    const agent = await connected(way, await api.keyOf(mine, 'agent'));
    const { operationId } = reserved.body;
    // An id that one's own tenant does not have is given up for the time to come, as by the API.
    await call(agent, 'release_money', { operationId });
    for (const [name, asked] of [
      ['show_reservation', { operationId }],
      ['commit_cost', { operationId, costUsd: '0.1' }],
      ['money_left', { tenantId: others }],
      ['reserve_money', { tenantId: others, amountUsd: '0.1' }],
    ] as const) {
      const told = await call(agent, name, asked);
      expect({ name, isError: told.isError }).toEqual({ name, isError: true });
    }
    const reader = await connected(way, await api.keyOf(mine, 'reader'));
    expect(await call(reader, 'money_left')).toMatchObject({ isError: false });
    expect(await call(reader, 'reserve_money', { amountUsd: '0.1' })).toMatchObject({
      isError: true,
      body: { error: 'forbidden' },
    });
    expect(await stack.books(mine)).toMatchObject({ spentUsd: '0', reservedUsd: '0' });
    expect(await stack.books(others)).toMatchObject({ spentUsd: '0', reservedUsd: '0.5' });
  });

  test('twenty at once by both ways pass no limit', async () => {
    const tenantId = await stack.tenant('10');
    const key = await api.keyOf(tenantId, 'agent');
    const clients = [await connected('http', key), await connected('stdio', key)];
    const told = await Promise.all(
      Array.from({ length: 20 }, (_, at) => call(clients[at % 2] as Client, 'reserve_money', { amountUsd: '2' })),
    );
    expect(told.filter(({ isError }) => !isError)).toHaveLength(5);
  });

  test('nonsense is told by its field, and nothing is done', async () => {
    const tenantId = await stack.tenant('1');
    const client = await connected('http', await api.keyOf(tenantId, 'agent'));
    for (const [name, asked, says] of [
      ['reserve_money', {}, 'amountUsd'],
      ['reserve_money', { amountUsd: 'a lot' }, 'amountUsd'],
      ['reserve_money', { amountUsd: '-1' }, 'amountUsd'],
      ['reserve_money', { amountUsd: '0.1', user_id: 'ada' }, 'user_id'],
      ['money_left', { user_id: 'ada' }, 'user_id'],
      ['commit_cost', { operationId: randomUUID(), costUsd: '0.1', user_id: 'ada' }, 'user_id'],
      ['commit_cost', { operationId: 'x', costUsd: '1' }, 'operationId'],
      ['call_cost', { model: 'no-such-model', inputTokens: 1, maxOutputTokens: 1 }, 'no-such-model'],
    ] as const) {
      const { isError, content } = await client.callTool({ name, arguments: asked });
      expect({ name, isError }).toEqual({ name, isError: true });
      expect(JSON.stringify(content)).toContain(says);
    }
    await expect(client.callTool({ name: 'no_such_tool', arguments: {} })).rejects.toThrow(/no_such_tool/);
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0', reservedUsd: '0' });
  });

  test('without a good key nothing is told; what is no message of the protocol is refused', async () => {
    await expect(connected('http', 'sk-of-somebody')).rejects.toThrow();
    const key = await api.keyOf(await stack.tenant('1'), 'agent');
    const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
    expect(await api.call('POST', '/v1/mcp', { key: '', body: list })).toMatchObject({ status: 401 });
    for (const body of ['{', [], {}, { jsonrpc: '1.0' }, 'null', Array.from({ length: 21 }, () => list)])
      expect((await api.request('/v1/mcp', { method: 'POST', key, body })).status).toBe(400);
    // Clients of before 2026 ask for a stream, and go on without where there is none.
    expect((await api.request('/v1/mcp', { key, headers: { accept: 'text/event-stream' } })).status).toBe(405);
  });

  test('over HTTP, whoever goes away while money is asked for holds none', async () => {
    const tenantId = await stack.tenant('100');
    const client = await connected('http', await api.keyOf(tenantId, 'agent'));
    // Its decisions wait for this.
    const lock = new Postgres({ connectionString: stack.database.adminUrl });
    await lock.connect();
    try {
      await lock.query('BEGIN');
      await lock.query(`SELECT copilot_internal.lock_quotas($1, '{}')`, [tenantId]);
      const asked = { name: 'reserve_money', arguments: { amountUsd: '1' } };
      await expect(client.callTool(asked, { signal: AbortSignal.timeout(300) })).rejects.toThrow();
      await lock.query('ROLLBACK');
    } finally {
      await lock.end();
    }
    // What comes after it is decided after it.
    const { operationId } = (await call(client, 'reserve_money', { amountUsd: '2' })).body;
    await until('nothing else is held', async () => (await stack.books(tenantId)).reservedUsd === '2');
    await call(client, 'release_money', { operationId });
  });

  test('a key’s requests are counted once each, and what gives money back is not refused for their number', async () => {
    const counted = await startTestApi(stack, { rateLimitPerSecond: 4 });
    try {
      const key = await counted.keyOf(await stack.tenant('5'), 'agent');
      const { body } = await counted.call('POST', '/v1/reservations', {
        key,
        body: { operationId: randomUUID(), resource: 'llm', amountUsd: '1' },
      });
      const send = (asked: object) =>
        counted.request('/v1/mcp', {
          method: 'POST',
          key,
          headers: { accept: 'application/json, text/event-stream' },
          body: { jsonrpc: '2.0', id: 1, ...asked },
        });
      const { operationId } = body;
      const commit = { name: 'commit_cost', arguments: { operationId, costUsd: '0.5' } };
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => send({ method: 'tools/call', params: commit })),
      );
      const told = await Promise.all(answers.map(async (answer) => [answer.status, await answer.text()] as const));
      expect(told.filter(([status, text]) => status !== 200 || text.includes('"isError":true'))).toEqual([]);
      const lists = await Promise.all(Array.from({ length: 20 }, () => send({ method: 'tools/list' })));
      expect(new Set(lists.map(({ status }) => status))).toEqual(new Set([200, 429]));
    } finally {
      await counted.close();
    }
  });

  test('over stdio, a reservation that nobody answered for is told by its id; without an API it says what to set', async () => {
    const away = new Client({ name: 'test', version: '1' });
    const environment = {
      PATH: process.env.PATH ?? '',
      SPENDLOCK_API_URL: 'http://127.0.0.1:9',
      SPENDLOCK_API_KEY: 'slk',
    };
    await away.connect(
      new StdioClientTransport({ command: process.execPath, args: [bin, 'mcp'], env: environment, stderr: 'pipe' }),
    );
    open.push(away);
    const told = await call(away, 'reserve_money', { amountUsd: '0.1' });
    expect(told).toMatchObject({
      isError: true,
      body: { error: 'unreachable', operationId: expect.any(String) as string },
    });
    const { status, err } = await command(['mcp'], { SPENDLOCK_API_URL: 'http://127.0.0.1:9' });
    expect(status).toBe(2);
    expect(err).toContain('SPENDLOCK_API_KEY');
  });

  /** A process whose whole input is given at once, and ends while its decision waits for a lock on the quotas. */
  const askedAndEnded = async (
    whileHeld: (asked: ChildProcess) => Promise<unknown>,
  ): Promise<{ tenantId: string; code: number | null; answers: { id: number; result: { isError?: boolean } }[] }> => {
    const tenantId = await stack.tenant('10');
    const key = await api.keyOf(tenantId, 'agent');
    const lock = new Postgres({ connectionString: stack.database.adminUrl });
    await lock.connect();
    try {
      await lock.query('BEGIN');
      await lock.query(`SELECT copilot_internal.lock_quotas($1, '{}')`, [tenantId]);
      const asked = spawn(process.execPath, [bin, 'mcp'], {
        env: { PATH: process.env.PATH ?? '', SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: key },
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      const ended = once(asked, 'close') as Promise<[number | null]>;
      let out = '';
      asked.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      const clientInfo = { name: 'test', version: '1' };
      const messages = [
        { id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo } },
        { method: 'notifications/initialized' },
        { id: 2, method: 'tools/call', params: { name: 'reserve_money', arguments: { amountUsd: '5' } } },
      ];
      asked.stdin.end(messages.map((message) => `${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`).join(''));
      await whileHeld(asked);
      await lock.query('ROLLBACK');
      const [code] = await ended;
      const lines = out.split('\n').filter(Boolean);
      return { tenantId, code, answers: lines.map((line) => JSON.parse(line) as { id: number; result: object }) };
    } finally {
      await lock.end();
    }
  };

  test('standard input that ends, ends it only when what was asked is answered', async () => {
    const { tenantId, code, answers } = await askedAndEnded(() => sleep(3_000));
    expect(code).toBe(0);
    expect(answers.map(({ id }) => id)).toEqual([1, 2]);
    expect(answers[1]?.result).toMatchObject({ structuredContent: { decision: 'granted', grantedUsd: '5' } });
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '5' });
  });

  test('a signal ends it at once, also while an answer is under way', async () => {
    const { code, answers } = await askedAndEnded(async (asked) => {
      await sleep(3_000);
      const began = performance.now();
      asked.kill('SIGTERM');
      await once(asked, 'exit');
      expect(performance.now() - began).toBeLessThan(2_000);
    });
    expect(code).not.toBe(0);
    expect(answers.map(({ id }) => id)).toEqual([1]);
  });

  test('standard input that ends, ends it', async () => {
    const client = await connected('stdio', await api.keyOf(await stack.tenant('1'), 'agent'));
    const transport = client.transport as StdioClientTransport;
    const { pid } = transport;
    await client.close();
    const isThere = (): boolean => {
      try {
        return process.kill(pid ?? 0, 0);
      } catch {
        return false;
      }
    };
    await until('it has ended', () => Promise.resolve(!isThere()));
  });
});
