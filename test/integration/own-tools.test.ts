/** Tools of a tenant's own: registered, called, paid, and what goes wrong with those that hang, break or vanish. */
import { TestConversation } from '../support/conversations';
import type { TestApi } from '../support/api';
import { command, spendlock } from '../support/cli';
import { withInstallation } from '../support/installation';
import { columnsWith, historyOf } from '../support/kept-words';
import { OwnTools, weatherCall } from '../support/own-tools';
import { until, type TestStack } from '../support/stack';
import { McpToolServer, startReferenceServer, tooLongName, ToolAddresses } from '../support/tool-servers';

describe("tools of a tenant's own", () => {
  let stack: TestStack;
  let api: TestApi;
  let addresses: ToolAddresses;
  let server: McpToolServer;
  let own: OwnTools;
  withInstallation((made) => {
    ({ stack, api } = made);
    own = new OwnTools(made);
  });
  beforeAll(async () => {
    addresses = await ToolAddresses.start();
    server = await McpToolServer.start();
  });
  afterAll(async () => {
    addresses.letGo();
    await Promise.all([addresses.close(), server.close()]);
  });
  beforeEach(() => {
    addresses.heard.length = 0;
    server.called.length = 0;
    server.gone.clear();
    server.says.clear();
  });

  const add = (tenantId: string, path: string, more: object = {}) => own.add(tenantId, `${addresses.url}${path}`, more);
  const addServer = (tenantId: string, more: object = {}) => own.addServer(tenantId, server.url, more);
  const call = weatherCall;

  test('an address is shown to the model, called with its credential, and paid; nobody sees the credential', async () => {
    const tenantId = await stack.tenant('5');
    const value = 'Bearer a-value-to-keep';
    expect(await add(tenantId, '/weather', { priceUsd: '0.02', credential: { value } })).toEqual({
      status: 201,
      body: { name: 'weather', tools: ['weather'], leftOut: [] },
    });
    const { run, told, costs, workflowId } = await own.ran(tenantId, [call, call], [{ name: 'weather' }]);
    expect(run).toMatchObject({ status: 'completed' });
    expect(told).toEqual([
      JSON.stringify({ place: 'Oslo', degrees: 21 }),
      JSON.stringify({ place: 'Oslo', degrees: 21 }),
    ]);
    expect(costs).toEqual([{ usd: '0.04', settlement: 'actual' }]);
    expect(addresses.heard.map(({ method, headers }) => [method, headers.authorization])).toEqual([
      ['POST', value],
      ['POST', value],
    ]);
    await own.settled(tenantId);

    const listed = await api.call('GET', `/v1/tools?tenantId=${tenantId}`);
    expect(listed.body).toMatchObject({
      tools: [{ name: 'weather', credentialHeader: 'authorization', priceUsd: '0.02' }],
    });
    expect(await columnsWith(stack, 'a-value-to-keep')).toEqual([]);
    const history = await historyOf(stack, workflowId);
    expect(history).toContain('weather');
    const exported = await api.request(`/v1/tenants/${tenantId}/export`, {});
    expect(exported.status).toBe(200);
    const all = await exported.text();
    expect(all).toContain('The weather.');
    expect(JSON.stringify([listed, history, all])).not.toContain('a-value-to-keep');
  });

  test.each(['claude-sonnet-5', 'gpt-5.1', 'gemini-2.5-flash'])(
    'a stand-in for %s calls what its task says to use, once, and says what came of it',
    async (model) => {
      const tenantId = await stack.tenant('5');
      expect(await add(tenantId, '/weather', { priceUsd: '0.02' })).toMatchObject({ status: 201 });
      const task = 'Use weather, and say how it is there.';
      const run = await stack.run({ tenantId, model, task, tools: [{ name: 'weather' }] });
      expect(run).toMatchObject({
        status: 'completed',
        answer: expect.stringMatching(/^I used weather.*"degrees":21/s) as string,
      });
      expect(addresses.heard).toMatchObject([{ body: '{"place":"example"}' }]);
      expect(run.steps.filter(({ kind }) => kind === 'tool.call')).toMatchObject([{ committedUsd: '0.02' }]);
    },
  );

  test('arguments by GET; those that do not fit are told, and neither sent nor paid', async () => {
    const tenantId = await stack.tenant('5');
    await add(tenantId, '/weather', { method: 'GET', priceUsd: '0.5' });
    const wrong = { name: 'weather', input: { town: 'Oslo' } };
    const { told, costs } = await own.ran(tenantId, [wrong, call], [{ name: 'weather' }]);
    expect(told[0]).toMatch(/^Its arguments do not fit: .*place.* It was not called\.$/);
    expect(addresses.heard).toMatchObject([{ method: 'GET', query: { place: 'Oslo' } }]);
    expect(costs).toEqual([{ usd: '0.5', settlement: 'actual' }]);
  });

  test.each([
    ['/refuses', /^It answered 403: not for you$/, '0', 'actual'],
    [
      '/redirects',
      /^It answered 302, .* redirects are not followed, and whether .* is not known\.$/,
      '0.1',
      'unverified',
    ],
    ['/sees-other', /^It answered 303, .* whether it was carried out is not known\.$/, '0.1', 'unverified'],
    ['/moved', /^It answered 308, .* redirects are not followed\. It was not carried out\.$/, '0', 'actual'],
    ['/nothing', /^It answered 404: no such tool$/, '0', 'actual'],
    ['/breaks', /^It answered 500: it broke$/, '0.1', 'unverified'],
    ['/cut', /whether it was carried out is not known/, '0.1', 'unverified'],
    ['/hangs', /^It did not answer within 1 s: whether it was carried out is not known\.$/, '0.1', 'unverified'],
    ['/picture', /^\[2000 bytes of image\/png, which is no text\]$/, '0.1', 'actual'],
    ['/large', /^x{20000}\n\[\d+ more characters were cut\]$/, '0.1', 'actual'],
  ])('%s is told as it is, and costs what it may have cost', async (path, words, usd, settlement) => {
    const tenantId = await stack.tenant('5');
    await add(tenantId, path, { priceUsd: '0.1', timeoutSeconds: path === '/hangs' ? 1 : 30 });
    const { run, told, costs } = await own.ran(tenantId, [call], [{ name: 'weather' }]);
    expect(run.status).toBe('completed');
    expect(told).toEqual([expect.stringMatching(words)]);
    // What costs nothing has no line, or one of nothing.
    expect(costs.filter((cost) => cost.usd !== '0')).toEqual(usd === '0' ? [] : [{ usd, settlement }]);
    expect(addresses.heard).toHaveLength(1);
    await own.settled(tenantId);
  });

  test('an MCP server: its tools are listed, called, and paid; what no model takes is left out by name', async () => {
    const tenantId = await stack.tenant('5');
    expect(await addServer(tenantId, { priceUsd: '0.01', credential: { value: 'Bearer for-the-server' } })).toEqual({
      status: 201,
      body: {
        name: 'texts',
        tools: ['texts__upper', 'texts__length', 'texts__text_reverse'],
        leftOut: [{ name: tooLongName, why: expect.stringContaining('longer than models take') as string }],
      },
    });
    const calls = [
      { name: 'texts__upper', input: { text: 'abc' } },
      { name: 'texts__text_reverse', input: { text: 'abc' } },
    ];
    const { told, costs } = await own.ran(tenantId, calls, [{ name: 'texts' }]);
    expect(told).toEqual(['ABC', 'cba']);
    expect(costs).toEqual([{ usd: '0.02', settlement: 'actual' }]);
    expect(server.called.map(({ name, authorization }) => [name, authorization])).toEqual([
      ['upper', 'Bearer for-the-server'],
      ['text.reverse', 'Bearer for-the-server'],
    ]);
    await own.settled(tenantId);
  });

  test('tools of a server that vanish, hang or say too much are told, and cost what they may have cost', async () => {
    const tenantId = await stack.tenant('5');
    await addServer(tenantId, { priceUsd: '0.01', resultBytesMax: 1_000 });
    server.gone.add('length');
    const [gone] = (await own.ran(tenantId, [{ name: 'texts__length', input: { text: 'abc' } }], [{ name: 'texts' }]))
      .told;
    expect(gone).toContain('Its server refused it');
    expect(await api.call('POST', '/v1/tools/texts/test', { body: { tenantId } })).toMatchObject({
      status: 200,
      body: { reached: true, changes: ['texts__length is not there any more'] },
    });
    await addServer(tenantId, { priceUsd: '0.01', timeoutSeconds: 1, replace: true });
    server.gone.clear();
    expect((await api.call('POST', '/v1/tools/texts/test', { body: { tenantId } })).body).toMatchObject({
      changes: ['texts__length is new'],
    });

    let letGo = (): void => undefined;
    server.says.set('upper', () => new Promise((resolve) => (letGo = () => resolve('late'))));
    const upper = { name: 'texts__upper', input: { text: 'abc' } };
    const hung = await own.ran(tenantId, [upper], [{ name: 'texts__upper' }]);
    letGo();
    expect(hung.told).toEqual(['It did not answer within 1 s: whether it was carried out is not known.']);
    expect(hung.costs).toEqual([{ usd: '0.01', settlement: 'unverified' }]);

    await addServer(tenantId, { priceUsd: '0.01', timeoutSeconds: 30, resultBytesMax: 1_000, replace: true });
    server.says.set('upper', () => Promise.resolve('x'.repeat(10_000_000)));
    const large = await own.ran(tenantId, [upper], [{ name: 'texts__upper' }]);
    expect(large.told).toEqual([expect.stringContaining('It said more than')]);
    await own.settled(tenantId);
  });

  test('the reference server of the protocol: all that it lists is shown, and its tools answer', async () => {
    const tenantId = await stack.tenant('5');
    const reference = await startReferenceServer();
    try {
      const added = await addServer(tenantId, { name: 'all', url: reference.url });
      expect(added).toMatchObject({
        status: 201,
        body: { tools: expect.arrayContaining(['all__echo', 'all__get-sum']) as string[], leftOut: [] },
      });
      const calls = [
        { name: 'all__echo', input: { message: 'hello' } },
        { name: 'all__get-sum', input: { a: 2, b: 3 } },
        { name: 'all__get-tiny-image', input: {} },
        { name: 'all__get-structured-content', input: { location: 'Chicago' } },
      ];
      const { run, told } = await own.ran(tenantId, calls, [{ name: 'all' }]);
      expect(run.status).toBe('completed');
      expect(told).toEqual([
        expect.stringContaining('hello'),
        expect.stringContaining('5'),
        expect.stringMatching(/\[image of image\/png, which is no text\]/),
        expect.stringContaining('temperature'),
      ]);
      expect((await api.call('POST', '/v1/tools/all/test', { body: { tenantId } })).body).toMatchObject({
        reached: true,
        changes: [],
      });
    } finally {
      await reference.close();
    }
  });

  test('an address says by OPTIONS whether something is there; a server that sends elsewhere is not followed', async () => {
    const tenantId = await stack.tenant('5');
    expect(await add(tenantId, '/weather')).toMatchObject({ status: 201 });
    expect(await add(tenantId, '/whether', { name: 'typo' })).toMatchObject({ status: 201 });
    const tried = async (name: string) =>
      (await api.call('POST', `/v1/tools/${name}/test`, { body: { tenantId } })).body;
    expect(await tried('weather')).toMatchObject({ reached: true, status: 405, problem: null });
    expect(await tried('typo')).toMatchObject({
      reached: false,
      status: 404,
      problem: 'It answers 404 to OPTIONS, as where nothing is at that path. It was not called.',
    });
    const moved = await addServer(tenantId, { url: `${addresses.url}/redirects` });
    expect(moved).toMatchObject({
      status: 422,
      body: { message: expect.stringMatching(/^It sends to another origin, and redirects are followed/) as string },
    });
  });

  test('what was surely not reached costs nothing, whoever is asked, and a model may name what every object has', async () => {
    const tenantId = await stack.tenant('5');
    const gone = await ToolAddresses.start();
    await gone.close();
    const closed = `${gone.url}/x`;
    expect(await add(tenantId, '/weather', { url: closed, priceUsd: '0.1' })).toMatchObject({ status: 201 });
    const names = [call, { name: 'constructor', input: {} }];
    const { run, told, costs } = await own.ran(tenantId, names, [{ name: 'weather' }]);
    expect(run.status).toBe('completed');
    expect(told).toEqual([
      expect.stringMatching(/^It could not be reached \(.*\): it was not called\.$/),
      'There is no tool "constructor"; there is weather.',
    ]);
    expect(costs.filter(({ usd }) => usd !== '0')).toEqual([]);
    await own.settled(tenantId);
  });

  test('arguments by GET do not take the place of what is registered', async () => {
    const tenantId = await stack.tenant('5');
    await add(tenantId, '/weather?place=Rome', { method: 'GET' });
    const { told } = await own.ran(tenantId, [call], [{ name: 'weather' }]);
    expect(told).toEqual(['Its argument "place" is set already. It was not called.']);
    expect(addresses.heard).toHaveLength(0);
  });

  test('a run has what was registered when it began; what is removed meanwhile is called no more', async () => {
    const tenantId = await stack.tenant('5');
    const talk = await (async () => {
      await add(tenantId, '/weather');
      return TestConversation.start(api, tenantId, { tools: [{ name: 'weather' }] });
    })();
    stack.anthropic.knobs.replies = [
      { text: '', tools: [call] },
      { text: 'Warm.' },
      { text: '', tools: [call] },
      { text: 'Gone.' },
    ];
    await talk.say('How is it?');
    expect(await api.call('POST', '/v1/tools/weather/remove', { body: { tenantId, author: 'ada' } })).toMatchObject({
      status: 200,
    });
    await talk.say('And now?');
    const told = (await talk.messages()).flatMap(({ content }) =>
      content.flatMap((block) => (block.type === 'tool_result' ? [(block as { content?: unknown }).content] : [])),
    );
    expect(told).toEqual([expect.stringContaining('21'), 'The tool weather is not registered any more.']);
    expect(addresses.heard).toHaveLength(1);
    await talk.close();
  });

  test('one that is under way when its run is cancelled may have been carried out, and is paid as unverified', async () => {
    const tenantId = await stack.tenant('5');
    await add(tenantId, '/hangs', { priceUsd: '0.1', timeoutSeconds: 60 });
    stack.anthropic.knobs.replies = [{ text: '', tools: [call, call] }];
    const started = await stack.start({ tenantId, tools: [{ name: 'weather' }] as never });
    await until('the tool is called', () => Promise.resolve(addresses.heard.length > 0));
    await api.call('POST', `/v1/runs/${started.runId}/cancel`, { body: { tenantId } });
    expect(await stack.finish({ ...started, tenantId })).toMatchObject({ status: 'cancelled' });
    // The second call of the same answer had not begun.
    expect(addresses.heard).toHaveLength(1);
    const { rows } = await stack.admin.query(
      `SELECT trim_scale(amount_usd)::text AS usd, settlement FROM copilot_internal.cost_records WHERE run_id = $1 AND kind = 'tool.call'`,
      [started.runId],
    );
    expect(rows).toEqual([{ usd: '0.1', settlement: 'unverified' }]);
    await own.settled(tenantId);
    addresses.letGo();
  });

  test('a person is asked first; what is refused is not called and costs nothing', async () => {
    const tenantId = await stack.tenant('5');
    await add(tenantId, '/weather', { requiresApproval: true, priceUsd: '0.1' });
    const talk = await TestConversation.start(api, tenantId, { tools: [{ name: 'weather' }] });
    const asked = async (decision: string): Promise<void> => {
      stack.anthropic.knobs.replies = [{ text: 'May I?', tools: [call] }, { text: 'So it is.' }];
      const turnId = await talk.post('How is it?');
      const { approvalId } = await until('somebody is asked', async () => {
        const { body } = await api.call('GET', `/v1/approvals?runId=${talk.id}`, { key: talk.key });
        return (body.approvals as { approvalId: string; status: string; tool: string }[]).find(
          ({ status, tool }) => status === 'pending' && tool === 'weather',
        );
      });
      expect(
        await api.call('POST', `/v1/approvals/${approvalId}`, { key: talk.key, body: { decision } }),
      ).toMatchObject({ status: 200 });
      expect(await talk.ended(turnId)).toBe('completed');
    };
    await asked('refuse');
    expect(addresses.heard).toHaveLength(0);
    await asked('approve');
    expect(addresses.heard).toHaveLength(1);
    const { rows } = await stack.admin.query(
      `SELECT trim_scale(amount_usd)::text AS usd FROM copilot_internal.cost_records WHERE tenant_id = $1 AND kind = 'tool.call' AND amount_usd > 0`,
      [tenantId],
    );
    expect(rows).toEqual([{ usd: '0.1' }]);
    await talk.close();
  });

  test('what cannot be registered, or given to a run, is refused by name', async () => {
    const tenantId = await stack.tenant('5');
    const refused = async (more: object, words: string, status = 400): Promise<void> =>
      expect(await add(tenantId, '/weather', more)).toMatchObject({
        status,
        body: { message: expect.stringContaining(words) as string },
      });
    await refused({ name: 'run_code' }, 'every run can have');
    await refused({ name: 'my__tool' }, '__');
    await refused({ name: 'my tool' }, 'name:');
    await refused({ url: 'http://169.254.169.254/latest' }, 'https://');
    await refused({ url: 'https://10.0.0.1/x' }, 'no public address');
    await refused({ inputSchema: { type: 'string' } }, '"type": "object"');
    await refused({ description: undefined }, 'description');
    await refused({ credential: { header: 'host', value: 'x' } }, 'header');
    await refused({ credential: { value: 'two\nlines' } }, 'one line');
    await refused(
      { kind: 'mcp', url: `${addresses.url}/weather`, description: undefined, inputSchema: undefined },
      'could not be listed',
      422,
    );
    expect(await add(tenantId, '/weather')).toMatchObject({ status: 201 });
    await refused({}, 'already', 409);
    expect(await add(tenantId, '/weather', { replace: true, priceUsd: '0.3' })).toMatchObject({ status: 201 });

    const start = (tools: object[]) =>
      api.call('POST', '/v1/runs', { body: { tenantId, task: 'Say something.', tools } });
    expect(await start([{ name: 'none' }])).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining('weather') as string },
    });
    expect(await start([{ name: 'weather', priceUsd: '0.1' }])).toMatchObject({ status: 400 });
    expect(await start([{ name: 'weather' }, { name: 'weather' }])).toMatchObject({ status: 400 });
    const other = await stack.tenant('5');
    expect(await api.call('GET', '/v1/tools', { key: await api.keyOf(other, 'operator') })).toMatchObject({
      body: { tools: [] },
    });
    expect(
      await api.call('POST', '/v1/tools/weather/remove', { key: await api.keyOf(other, 'operator'), body: {} }),
    ).toMatchObject({ status: 404 });
    for (const role of ['agent', 'reader'] as const)
      expect(
        await api.call('POST', '/v1/tools/weather/remove', { key: await api.keyOf(tenantId, role), body: {} }),
      ).toMatchObject({ status: 403 });
  });

  test('by the command line, with its credential from the environment', async () => {
    const tenantId = await stack.tenant('5');
    const environment = { PATH: process.env.PATH ?? '', SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: api.adminKey };
    const added = await command(
      [
        'tools',
        'add',
        'texts',
        '--tenant',
        tenantId,
        '--kind',
        'mcp',
        '--url',
        server.url,
        '--price',
        '0.01',
        '--credential-env',
        'TOKEN',
      ],
      { ...environment, TOKEN: 'Bearer by-the-line' },
    );
    expect(added).toMatchObject({ status: 0, out: expect.stringContaining('texts__upper') as string });
    const on = (...args: string[]) => spendlock(api, 'tools', ...args, '--tenant', tenantId);
    expect((await on('list')).out).toContain('texts');
    expect((await on('test', 'texts')).out).toContain('is reached');
    expect((await on('remove', 'texts')).status).toBe(0);
    expect((await on('list', '--json')).out).toContain('"tools":[]');
  });
});
