/** Servers of tools that mean harm, or have changed: what a call of them is told and costs, once, and that nothing of its credential is kept. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createLog } from '../../telemetry/log';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { columnsWith, historyOf } from '../support/kept-words';
import { OwnTools, weatherCall } from '../support/own-tools';
import type { TestStack } from '../support/stack';
import { HostileMcpServer, McpToolServer, ToolAddresses, type HostileAnswer } from '../support/tool-servers';

const secret = 'an-echoed-value';
const value = `Bearer ${secret}`;
const priceUsd = '0.01';
const paid = [{ usd: priceUsd, settlement: 'actual' }];
const unverified = [{ usd: priceUsd, settlement: 'unverified' }];
const forgotten: HostileAnswer = { status: 404, body: 'There is no such session.' };
const sendsTo = (status: number, location: string): HostileAnswer => ({ status, headers: { location }, body: '' });

describe('tools that mean harm', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-tools-'));
  const logFile = path.join(folder, 'api.log');
  const log = createLog({ name: 'api', level: 'debug', destination: logFile });
  let stack: TestStack;
  let api: TestApi;
  let own: OwnTools;
  let addresses: ToolAddresses;
  let server: McpToolServer;
  let hostile: HostileMcpServer;
  withInstallation(
    (made) => {
      ({ stack, api } = made);
      own = new OwnTools(made);
    },
    { serve: { log } },
  );
  beforeAll(async () => {
    addresses = await ToolAddresses.start();
    server = await McpToolServer.start();
  });
  afterAll(async () => {
    await Promise.all([addresses.close(), server.close()]);
    rmSync(folder, { recursive: true });
  });
  beforeEach(async () => {
    addresses.heard.length = 0;
    server.isRenamed = false;
    hostile = await HostileMcpServer.start();
  });
  afterEach(() => hostile.close());

  const tried = async (tenantId: string) =>
    (await api.call('POST', '/v1/tools/texts/test', { body: { tenantId } })).body;
  /** A run whose model calls a tool of the hostile server once. */
  const calledOnce = (...answers: HostileAnswer[]) => calledWithin(30, answers);
  const calledWithin = async (timeoutSeconds: number, answers: HostileAnswer[]) => {
    const tenantId = await stack.tenant('5');
    const more = { priceUsd, credential: { value }, timeoutSeconds };
    const { status, body } = await own.addServer(tenantId, hostile.url, more);
    expect(status).toBe(201);
    const [name = ''] = body.tools as string[];
    hostile.asked.length = 0;
    hostile.answers['tools/call'].push(...answers);
    const ran = await own.ran(tenantId, [{ name, input: {} }], [{ name }]);
    expect(ran.run.status).toBe('completed');
    await own.settled(tenantId);
    return { ...ran, costs: ran.costs.filter(({ usd }) => usd !== '0') };
  };
  /** A credential is in no row, history, log, and in no answer of what was seen. */
  const isNowhere = async ({ workflowId, runId }: { workflowId: string; runId: string }, ...seen: unknown[]) => {
    expect(await columnsWith(stack, secret)).toEqual([]);
    expect(await columnsWith(stack, runId)).toContain('run_events.run_id');
    const history = await historyOf(stack, workflowId);
    expect(history).toContain('hasOwnTools');
    const logged = stack.workerLog() + readFileSync(logFile, 'utf8');
    for (const line of ['worker started', 'a run began']) expect(logged).toContain(line);
    expect(JSON.stringify([history, logged, ...seen])).not.toContain(secret);
  };

  test('a server is asked once, holds nobody up, and has its credential echoed nowhere', async () => {
    const tenantId = await stack.tenant('5');
    const added = await own.addServer(tenantId, hostile.url, { priceUsd, credential: { value } });
    expect(added.status).toBe(201);
    expect(hostile.asked.filter((method) => method === 'tools/list').length).toBeLessThanOrEqual(20);
    expect(await columnsWith(stack, 'You sent [credential]')).toContain('tools.shown');
    expect(added.body.leftOut).toContainEqual({
      name: 'odd1',
      why: 'its schema has anyOf at its top, which not all models take',
    });
    // What is no tool leaves out itself alone.
    for (const name of ['bare1', '(no tool)'])
      expect(added.body.leftOut).toContainEqual({
        name,
        why: 'its schema must be a JSON Schema with "type": "object": models name arguments',
      });

    hostile.asked.length = 0;
    const ran = await own.ran(tenantId, [{ name: 'texts__act1', input: {} }], [{ name: 'texts__act1' }]);
    expect(ran).toMatchObject({ told: ['Done.'], costs: paid });
    expect(hostile.asked.filter((method) => method.startsWith('tools/'))).toEqual(['tools/call']);
    await isNowhere(ran, added);
  });

  test.each([
    ['once, is called within a new one, and paid once', [forgotten], 'Done.', paid],
    [
      'twice, was not called, and costs nothing',
      [forgotten, forgotten],
      'It answered 404 in two sessions that it had given, as where it knows them no more. It was not called.',
      [],
    ],
    [
      'and breaks then, costs what it may have cost',
      [forgotten, { status: 500, body: 'It broke.' }],
      expect.stringContaining('whether it was carried out is not known') as string,
      unverified,
    ],
  ])('a server that forgets its session %s', async (_, answers, told, costs) => {
    expect(await calledOnce(...answers)).toMatchObject({ told: [told], costs });
    // Never a third time, and each time with a session that it had just given.
    const sessions = hostile.called.map(({ session }) => session);
    expect(new Set(sessions).size).toBe(2);
    expect(sessions).toHaveLength(2);
    expect(hostile.asked.filter((method) => method === 'initialize')).toHaveLength(2);
  });

  test('a server that never answers a goodbye does not use up the time of its answer', async () => {
    expect(await calledWithin(2, [forgotten])).toMatchObject({ told: ['Done.'], costs: paid });
  });

  test.each([
    [307, 'within its origin', '/elsewhere', 'Done.', paid, ['/mcp', '/elsewhere']],
    [
      303,
      'within its origin',
      '/elsewhere',
      expect.stringMatching(/^Its server answered 303, .* whether it was carried out is not known\.$/) as string,
      unverified,
      ['/mcp'],
    ],
    [308, 'to a private address', 'http://169.254.169.254/', 'Its server answered 308.', [], ['/mcp']],
    [303, 'to a private address', 'http://10.0.0.1/', expect.stringContaining('303'), unverified, ['/mcp']],
  ])('a server that answers %p and sends %s', async (status, _, location, told, costs, paths) => {
    expect(await calledOnce(sendsTo(status, location))).toMatchObject({ told: [told], costs });
    expect(hostile.called.map((call) => [call.path, call.authorization])).toEqual(paths.map((one) => [one, value]));
  });

  test('another origin is not called, also one that may be called itself, and no redirect is followed for ever', async () => {
    const elsewhere = await calledOnce(sendsTo(307, `${addresses.url}/weather`));
    expect(elsewhere).toMatchObject({ told: ['Its server answered 307.'], costs: [] });
    expect(addresses.heard).toEqual([]);
    hostile.called.length = 0;
    const round = await calledOnce(...Array.from({ length: 20 }, () => sendsTo(307, '/mcp')));
    expect(round).toMatchObject({ told: ['Its server answered 307.'], costs: [] });
    expect(hostile.called).toHaveLength(6);
  });

  test.each([
    ['a result', { result: { content: [{ type: 'text', text: `You sent ${value}` }] } }, 'You sent [credential]', paid],
    [
      'a result that is an error',
      { result: { isError: true, content: [{ type: 'text', text: `Not ${secret}!` }] } },
      'Not [credential]!',
      paid,
    ],
    [
      'what is no text',
      { result: { content: [{ type: 'resource_link', name: secret, uri: `x:${secret}` }] } },
      '[[credential]: x:[credential]]',
      paid,
    ],
    [
      'an error of the protocol',
      { error: { code: -32_000, message: `Who is ${value}?` } },
      expect.stringContaining('Who is [credential]?'),
      unverified,
    ],
    [
      'headers',
      { headers: { 'content-type': `text/${secret}`, 'x-echo': value, 'mcp-session-id': secret }, body: value },
      expect.stringContaining('whether it was carried out is not known'),
      unverified,
    ],
    ['a refusal', { status: 403, headers: { 'www-authenticate': value }, body: value }, 'Its server answered 403.', []],
  ])('a server echoes the credential in %s, and it is kept nowhere', async (_, answer, told, costs) => {
    const ran = await calledOnce(answer);
    expect(ran).toMatchObject({ told: [told], costs });
    await isNowhere(ran);
  });

  test('nor is it in what those are told who try a server that echoes it', async () => {
    const tenantId = await stack.tenant('5');
    const list = hostile.answers['tools/list'];
    const message = `${'x'.repeat(280)} ${value}`;
    list.push({ error: { code: -32_000, message } });
    const refused = await own.addServer(tenantId, hostile.url, { credential: { value } });
    expect(refused).toMatchObject({ status: 422, body: { message: expect.stringContaining('xxx') as string } });
    expect((await own.addServer(tenantId, hostile.url, { credential: { value } })).status).toBe(201);
    list.push({ error: { code: -32_000, message } });
    const cut = await tried(tenantId);
    expect(cut.problem).toMatch(/^It did not answer as an MCP server does \(.*x{280}/);
    list.push({ status: 500, body: `No ${value}.` });
    const broken = await tried(tenantId);
    expect(broken.problem).toContain('No [credential].');
    list.push({ body: value });
    const noJson = await tried(tenantId);
    expect(noJson.problem).toContain('what it said is no JSON');
    for (const words of [refused, cut, broken, noJson]) expect(JSON.stringify(words)).not.toMatch(/an-echo/);
  });

  test.each([
    ['/echoes', {}, 'you sent [credential]'],
    // It is cut in the middle of the credential, of which nothing is left.
    ['/echoes', { resultBytesMax: 25 }, 'you sent \n[cut: it said more than 25 bytes]'],
    ['/echoes-refusing', {}, 'It answered 403: not [credential]'],
    ['/echoes-broken', {}, 'It answered 500: it broke at [credential]'],
    ['/echoes-type', {}, '[1 bytes of image/png; of="[credential]", which is no text]'],
  ])('an address echoes it: %s %j, and it is kept nowhere', async (where, more, told) => {
    const tenantId = await stack.tenant('5');
    await own.add(tenantId, `${addresses.url}${where}`, { credential: { value }, ...more });
    const ran = await own.ran(tenantId, [weatherCall], [{ name: 'weather' }]);
    expect(ran.told).toEqual([told]);
    await isNowhere(ran);
  });

  test('a tool that wants other arguments by now says so to the model, which was shown the old ones; the price is due where its server answered', async () => {
    const tenantId = await stack.tenant('5');
    await own.addServer(tenantId, server.url, { priceUsd });
    server.isRenamed = true;
    const upper = (input: Record<string, string>) =>
      own.ran(tenantId, [{ name: 'texts__upper', input }], [{ name: 'texts' }]);
    expect(await upper({ text: 'abc' })).toMatchObject({
      told: [expect.stringContaining('Invalid arguments for tool upper')],
      costs: paid,
    });
    // What was not registered is not sent.
    expect((await upper({ words: 'abc' })).told).toEqual([expect.stringMatching(/do not fit.* It was not called\.$/)]);
    expect((await tried(tenantId)).changes).toContain('texts__upper is described otherwise');
    await own.addServer(tenantId, server.url, { priceUsd, replace: true });
    expect(await upper({ words: 'abc' })).toMatchObject({ told: ['ABC'], costs: paid });
    expect(server.called).toMatchObject([{ input: { text: 'abc' } }]);

    const refusedByProtocol = { error: { code: -32_602, message: 'There is no such argument.' } };
    expect(await calledOnce(refusedByProtocol)).toMatchObject({
      told: ['Its server refused it (-32602): There is no such argument.'],
      costs: [],
    });
  });

  test('a server that is gone between its list and a call was not called, and costs nothing', async () => {
    const tenantId = await stack.tenant('5');
    const gone = await HostileMcpServer.start();
    await own.addServer(tenantId, gone.url, { priceUsd });
    await gone.close();
    const { told, costs } = await own.ran(tenantId, [{ name: 'texts__act1', input: {} }], [{ name: 'texts' }]);
    expect(told).toEqual([expect.stringMatching(/^It could not be reached \(ECONNREFUSED\): it was not called\.$/)]);
    expect(costs.filter(({ usd }) => usd !== '0')).toEqual([]);
    await own.settled(tenantId);
  });
});
