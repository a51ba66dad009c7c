/**
 * The typed client knows the whole API. Each of its methods is called as a browser would call it, and what it asks for is held
 * against the API's own document: an operation without a method fails here, and so does a method without an operation.
 */
import type { SpendlockClient } from '../../../client';
import { describedOperations, operationOf, type Described } from '../../support/api-document';
import { bundledClient, type BrowserClient } from '../../support/browser-client';
import { recordingServer, type RecordingServer } from '../../support/recording-server';

const id = '0b7a3b8d-2a8e-4b8e-8f0e-0d6d9a1f9c11';
const price = { provider: 'openai', model: 'm', inputUsd: '1', outputUsd: '2', source: 's', sourceDate: '2026-01-01' };
const tier = { tier: 'large', vcpu: 1, memoryMib: 512, vcpuSecondUsd: '0.1', gibSecondUsd: '0.1' };
const why = { reason: 'a test' };
const quota = { resourceType: 'all', limitUsd: '5' } as const;

/** To its end, so that nothing of it stays open. */
async function read(stream: AsyncIterable<unknown> | Promise<ReadableStream>): Promise<void> {
  for await (const _piece of (await stream) as AsyncIterable<unknown>);
}

/** Each operation of the API, and how the client asks for it. */
const operations: Record<string, (client: SpendlockClient) => Promise<unknown>> = {
  listAlerts: (client) => client.alerts.list({ tenantId: 'acme', cursor: 'next' }),
  listAuditEntries: (client) => client.audit.list({ action: 'top_up', cursor: 'next' }),
  listApprovals: (client) => client.approvals.list({ runId: id }),
  listMoneyRequests: (client) => client.moneyRequests.list({ runId: id }),
  answerMoneyRequest: (client) => client.moneyRequests.grant(id, { amountUsd: '5' }),
  decideApproval: (client) => client.approvals.refuse(id, why),
  listConversations: (client) => client.conversations.list(),
  startConversation: (client) =>
    client.conversations.create({ file: { name: 'a.csv', content: new Uint8Array([1, 2, 255]) } }),
  getConversation: (client) => client.conversations.get(id),
  closeConversation: (client) => client.conversations.close(id),
  followConversation: (client) => read(client.conversations.events(id)),
  interruptTurn: (client) => client.conversations.interrupt(id),
  downloadConversationFile: (client) => read(client.conversations.file(id)),
  setTitle: (client) => client.conversations.setTitle(id, { title: 'Sales' }),
  listMessages: (client) => client.conversations.messages(id),
  sendMessage: (client) => client.conversations.send(id, { message: 'Hello' }),
  whatIf: (client) => client.usage.whatIf('acme', { limits: [{ resourceType: 'all', limitUsd: '5' }] }),
  listCostRecords: (client) => client.usage.records(),
  listKeys: (client) => client.keys.list(),
  createKey: (client) => client.keys.create({ tenantId: 'acme' }),
  getCurrentKey: (client) => client.keys.current(),
  revokeKey: (client) => client.keys.revoke(id),
  rotateKey: (client) => client.keys.rotate(id),
  listPlatformQuotas: (client) => client.platform.quotas(),
  setPlatformQuotas: (client) => client.platform.setQuotas({ quotas: [quota] }),
  removePlatformQuota: (client) => client.platform.removeQuota(why),
  listTools: (client) => client.tools.list(),
  addTool: (client) => client.tools.add({ name: 'weather', kind: 'mcp', url: 'https://tools.example.com/mcp' }),
  testTool: (client) => client.tools.test('weather'),
  removeTool: (client) => client.tools.remove('weather'),
  listPrices: (client) => client.prices.list({ all: true }),
  addPrices: (client) => client.prices.add({ prices: [price] }),
  addSandboxPrice: (client) => client.prices.addSandbox({ ...tier, source: 's', sourceDate: '2026-01-01' }),
  checkQuotas: (client) => client.checkQuota({ amountUsd: '1' }),
  reserve: (client) => client.reserve({ resource: 'llm', amountUsd: '1' }),
  getReservation: (client) => client.reservation(id),
  claimReservation: (client) => client.claim(id),
  commitReservation: (client) => client.commit(id, { costUsd: '1' }),
  extendReservation: (client) => client.extend(id, { ttlSeconds: 60 }),
  releaseReservation: (client) => client.release(id),
  listRuns: (client) => client.runs.list({ tenantId: 'acme' }),
  startRun: (client) => client.runs.start({ task: 'Say hello.' }),
  getRun: (client) => client.runs.get(id),
  cancelRun: (client) => client.runs.cancel(id),
  listRunMessages: (client) => client.runs.messages(id, { limit: 2 }),
  downloadRunFile: (client) => read(client.runs.file(id)),
  followRun: (client) => read(client.runs.events(id)),
  listTenants: (client) => client.tenants.list(),
  createTenant: (client) => client.tenants.create({ tenantId: 'acme' }),
  followTenants: (client) => read(client.tenants.events()),
  adjustCost: (client) => client.budget.adjust('acme', { operationId: id, costUsd: '1', ...why }),
  getBooks: (client) => client.budget.books('acme'),
  repairBooks: (client) => client.budget.repairBooks('acme', why),
  deleteTenant: (client) => client.tenants.delete('acme', { confirm: 'acme', ...why }),
  exportTenant: (client) => read(client.tenants.export('acme')),
  freezeBudget: (client) => client.budget.freeze('acme', why),
  listHolds: (client) => client.budget.holds('acme', { unverified: true }),
  releaseHold: (client) => client.budget.releaseHold('acme', id, why),
  getOverview: (client) => client.tenants.overview('acme'),
  followOverview: (client) => read(client.tenants.overviewEvents('acme')),
  getMandate: (client) => client.budget.mandate('acme'),
  recallMandate: (client) => client.budget.recallMandate('acme', why),
  allowMandate: (client) => client.budget.allowMandate('acme'),
  getPolicy: (client) => client.budget.policy('acme'),
  getUserDefaults: (client) => client.budget.userDefaults('acme'),
  removeQuota: (client) => client.budget.removeQuota('acme', { resourceType: 'llm', ...why }),
  enforceQuota: (client) => client.budget.enforceQuota('acme', { resourceType: 'llm', ...why }),
  watchQuota: (client) => client.budget.watchQuota('acme', { resourceType: 'llm', ...why }),
  setPolicy: (client) => client.budget.setPolicy('acme', { onUnavailable: 'deny' }),
  listQuotas: (client) => client.tenants.quotas('acme', { userId: 'ada' }),
  setQuotas: (client) => client.tenants.setQuotas('acme', [quota], { author: 'Ada', ...why }),
  topUpBudget: (client) => client.budget.topUp('acme', { amountUsd: '1', ...why }),
  unfreezeBudget: (client) => client.budget.unfreeze('acme'),
  getLabelDefaults: (client) => client.budget.labelDefaults('acme'),
  setLabelDefaults: (client) => client.budget.setLabelDefaults('acme', { quotas: [] }),
  setUserDefaults: (client) => client.budget.setUserDefaults('acme', { quotas: [] }),
  getUsage: (client) => client.usage.summary({ groupBy: 'day' }),
};

describe('the typed client', () => {
  let bundled: BrowserClient;
  let server: RecordingServer;
  let described: Described[];
  beforeAll(async () => {
    [bundled, server, described] = await Promise.all([bundledClient(), recordingServer(), describedOperations()]);
  });
  afterAll(() => server.close());

  test('has a method for each operation of the API, but for the MCP server, which clients of its protocol speak to', () => {
    const own = described.map(({ operationId }) => operationId).filter((name) => name !== 'callMcp');
    expect(Object.keys(operations).sort()).toEqual(own.sort());
  });

  test.each(Object.keys(operations))('asks for %s with what it takes', async (operationId) => {
    const client = bundled.client.createSpendlockClient({ baseUrl: server.url, apiKey: 'a key' });
    server.asked.length = 0;
    await operations[operationId]?.(client);
    const [request] = server.asked;
    const operation = request && operationOf(described, request);
    expect(operation?.operationId).toBe(operationId);
    const queries = operation?.parameters?.filter((one) => one.in === 'query').map(({ name }) => name) ?? [];
    expect(queries).toEqual(expect.arrayContaining(request?.query ?? []));
    const fields = Object.keys(operation?.requestBody?.content['application/json'].schema.properties ?? {});
    expect(fields).toEqual(expect.arrayContaining(Object.keys(request?.body ?? {})));
  });

  test('is small, and has nothing of a server in it: it runs where there is no Node', () => {
    const outside = Object.keys(bundled.inputs).filter((file) => !/^(client|core)\//.test(file));
    expect(outside).toEqual([]);
    expect(bundled.bytes).toBeLessThan(100_000);
  });
});
