/**
 * The command line has the whole API. Each operation's command is run as a person would run it, and what it asks for is held
 * against the API's own document: an operation without a command fails here, unless it is left out on purpose, with the reason.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { program } from '../../../cli/program';
import { describedOperations, operationOf, type Described } from '../../support/api-document';
import { recordingServer, type RecordingServer } from '../../support/recording-server';

const id = '0b7a3b8d-2a8e-4b8e-8f0e-0d6d9a1f9c11';
const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-commands-'));
const file = path.join(folder, 'out');
const price = ['--input', '1', '--output', '2', '--source', 'https://example.com'];
const tier = ['--vcpu', '2', '--memory-mib', '512', '--vcpu-second', '0.1', '--gib-second', '0.1'];
const why = ['--reason', 'a test'];

/** Each operation of the API, and how a person asks for it. */
const commands: Record<string, string[]> = {
  listAlerts: ['alerts', 'acme', '--cursor', 'next'],
  listAuditEntries: ['audit', 'acme', '--action', 'top_up', '--cursor', 'next'],
  listApprovals: ['approvals', 'list', 'acme', '--run', id],
  decideApproval: ['approvals', 'refuse', 'acme', id, ...why],
  listConversations: ['conversations', 'list', 'acme', '--user', 'ada'],
  getConversation: ['conversations', 'show', 'acme', id],
  closeConversation: ['conversations', 'close', 'acme', id],
  interruptTurn: ['conversations', 'interrupt', 'acme', id],
  downloadConversationFile: ['conversations', 'file', 'acme', id, file, '--force'],
  setTitle: ['conversations', 'title', 'acme', id, 'Sales'],
  listMessages: ['conversations', 'messages', 'acme', id, '--cursor', 'next'],
  listCostRecords: ['usage', 'list', 'acme', '--unverified', '--cursor', 'next'],
  getUsage: ['usage', 'show', 'acme', '--by', 'day'],
  listKeys: ['keys', 'list', '--tenant', 'acme'],
  createKey: ['keys', 'create', '--tenant', 'acme', '--role', 'reader'],
  getCurrentKey: ['keys', 'current'],
  revokeKey: ['keys', 'revoke', id, '--tenant', 'acme', '--yes'],
  rotateKey: ['keys', 'rotate', id, '--grace', '60'],
  listPlatformQuotas: ['budget', 'show', '--platform'],
  removePlatformQuota: ['budget', 'remove', '--platform', '--reason', 'no common limit'],
  setPlatformQuotas: ['budget', 'set', '--platform', '--limit', '5', '--warn-at', '0.5', '0.8'],
  listPrices: ['prices', 'list', '--all'],
  addPrices: ['prices', 'set', 'm', '--provider', 'openai', ...price],
  addSandboxPrice: ['prices', 'set-sandbox', 'large', ...tier, '--source', 'https://example.com'],
  checkQuotas: ['budget', 'check', 'acme', '--model', 'm', '--input-tokens', '1', '--max-output-tokens', '1'],
  reserve: ['holds', 'reserve', 'acme', '1', '--minimum', '0.5', '--ttl', '60', '--on-expiry', 'settle', '--kind', 'k'],
  getReservation: ['holds', 'show', 'acme', id],
  claimReservation: ['holds', 'claim', 'acme', id],
  commitReservation: ['holds', 'commit', 'acme', id, '0.5', '--claim-token', id],
  extendReservation: ['holds', 'extend', 'acme', id, '60'],
  releaseReservation: ['holds', 'release', 'acme', id, '--claim-token', id],
  releaseHold: ['holds', 'release', 'acme', id, ...why],
  listHolds: ['holds', 'list', 'acme'],
  listRuns: ['runs', 'list', 'acme', '--limit', '1000'],
  startRun: ['runs', 'start', 'acme', '--task', 'Say hello.', '--max-cost', '1', '--max-steps', '3'],
  getRun: ['runs', 'show', 'acme', id],
  cancelRun: ['runs', 'cancel', 'acme', id],
  listRunMessages: ['runs', 'messages', 'acme', id, '--limit', '2'],
  downloadRunFile: ['runs', 'file', 'acme', id, file, '--force'],
  followRun: ['runs', 'follow', 'acme', id],
  listTenants: ['tenants', 'list'],
  createTenant: ['tenants', 'create', 'acme', '--name', 'Acme'],
  getOverview: ['tenants', 'show', 'acme'],
  exportTenant: ['tenants', 'export', 'acme', file, '--force'],
  deleteTenant: ['tenants', 'remove', 'acme', '--export', file, '--force', '--confirm', 'acme', ...why],
  adjustCost: ['budget', 'adjust', 'acme', id, '1', ...why],
  getBooks: ['budget', 'repair', 'acme'],
  repairBooks: ['budget', 'repair', 'acme', '--yes'],
  freezeBudget: ['budget', 'freeze', 'acme', '--user', 'ada', ...why],
  unfreezeBudget: ['budget', 'unfreeze', 'acme', ...why],
  getPolicy: ['budget', 'policy', 'show', 'acme'],
  setPolicy: ['budget', 'policy', 'set', 'acme', '--on-unavailable', 'deny', ...why],
  getUserDefaults: ['budget', 'user-defaults', 'show', 'acme'],
  setUserDefaults: ['budget', 'user-defaults', 'set', 'acme', 'llm/day=2', 'all/month=20', '--warn-at', '0.9', ...why],
  listQuotas: ['budget', 'show', 'acme', '--user', 'ada'],
  setQuotas: ['budget', 'set', 'acme', '--limit', '5', '--user', 'ada', ...why],
  removeQuota: ['budget', 'remove', 'acme', '--resource', 'llm', ...why],
  topUpBudget: ['budget', 'topup', 'acme', '1', ...why],
};

/** Those that have no command of this kind, and why. */
const leftOut: Record<string, string> = {
  startConversation: '`chat` begins one; test/integration/command-line.test.ts talks',
  sendMessage: 'what is typed in `chat`',
  followConversation: 'what `chat` shows',
  followTenants: 'keeps the page of the dashboard as things are; `tenants list` tells how they are now',
  followOverview: 'keeps the page of the dashboard as things are; `tenants show` tells how they are now',
};

describe('the command line', () => {
  let server: RecordingServer;
  let described: Described[];
  const environment = { ...process.env };
  beforeAll(async () => {
    const answer = { end: true, rows: 0, prices: [], nextCursor: null };
    [server, described] = await Promise.all([recordingServer(answer), describedOperations()]);
    Object.assign(process.env, { SPENDLOCK_API_URL: server.url, SPENDLOCK_API_KEY: 'a key' });
    for (const name of ['log', 'error'] as const) jest.spyOn(console, name).mockImplementation(() => undefined);
  });
  afterAll(async () => {
    process.env = environment;
    process.exitCode = undefined;
    jest.restoreAllMocks();
    rmSync(folder, { recursive: true });
    await server.close();
  });

  test('XE17: has a command for each operation of the API, but for those that are left out on purpose', () => {
    expect([...Object.keys(commands), ...Object.keys(leftOut)].sort()).toEqual(
      described.map(({ operationId }) => operationId).sort(),
    );
  });

  test.each(Object.keys(commands))('XE17: asks for %s with what it takes', async (operationId) => {
    server.asked.length = 0;
    // What is answered has none of what the words are made of; with --json none are.
    await program()
      .parseAsync([...(commands[operationId] ?? []), '--json'], { from: 'user' })
      .catch((error: unknown) => error);
    const asked = server.asked.map((request) => ({ request, operation: operationOf(described, request) }));
    expect(asked.map(({ operation }) => operation?.operationId)).toContain(operationId);
    for (const { request, operation } of asked) {
      const queries = operation?.parameters?.filter((one) => one.in === 'query').map(({ name }) => name) ?? [];
      expect(queries).toEqual(expect.arrayContaining(request.query));
      const fields = Object.keys(operation?.requestBody?.content['application/json'].schema.properties ?? {});
      expect(fields).toEqual(expect.arrayContaining(Object.keys(request.body)));
    }
  });
});
