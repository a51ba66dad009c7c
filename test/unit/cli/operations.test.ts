/**
 * The command line has the whole API. Each operation's command is run as a person would run it, and what it asks for is held
 * against the API's own document: an operation without a command fails here, unless it is left out on purpose, with the reason.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { lookAt } from '../../../cli/orders';
import { program } from '../../../cli/program';
import { describedOperations, operationOf, type Described } from '../../support/api-document';
import { commandsOf } from '../../support/commands';
import { recordingServer, type Asked, type RecordingServer } from '../../support/recording-server';

const id = '0b7a3b8d-2a8e-4b8e-8f0e-0d6d9a1f9c11';
const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-commands-'));
const commands = commandsOf({
  tenantId: 'acme',
  userId: 'ada',
  file: path.join(folder, 'out'),
  ...{ runId: id, conversationId: id, approvalId: id, operationId: id, apiKeyId: id, claimToken: id },
});

/** Those that have no command of this kind, and why. */
const leftOut: Record<string, string> = {
  startConversation: '`chat` begins one; test/integration/command-line.test.ts talks',
  sendMessage: 'what is typed in `chat`',
  callMcp: '`mcp` is the same over standard input and output; test/integration/mcp.test.ts speaks to both',
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
    await seen(asked.map(({ request }) => request).filter(({ method }) => method !== 'GET'));
  });

  /** What changes something has a command that shows what became of it. */
  async function seen(orders: Asked[]): Promise<void> {
    for (const order of orders) {
      server.asked.length = 0;
      const words = [...lookAt({ path: order.path, body: { ...order.body } }), '--json'];
      // What it makes of the answer, which is that to another request, is not asked here.
      await program()
        .parseAsync(words, { from: 'user' })
        .catch(() => undefined);
      expect(server.asked[0]?.method).toBe('GET');
    }
  }
});
