/**
 * The touchpoint audit (requirement Q6): nothing reaches a paid provider without a grant. Static: provider SDKs are imported
 * where their provider is wrapped and nowhere else, and every activity that claims money is called through `withBudget` alone.
 * Dynamic: with an authority that refuses everything, a long mixed conversation makes no billable call.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import list from '../../scripts/folders.json';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { sourcesOf } from '../support/import-graph';
import { withInstallation } from '../support/installation';
import { OwnTools, weatherCall } from '../support/own-tools';
import type { TestStack } from '../support/stack';
import { ToolAddresses } from '../support/tool-servers';

const root = path.join(__dirname, '..', '..');
const sources = list.product
  .flatMap(({ name }) => sourcesOf(name))
  .map((name) => ({ name, text: readFileSync(path.join(root, name), 'utf8') }));

/** Each provider's SDK, and the only files that may import it. */
const touchpoints: Record<string, string[]> = {
  '@anthropic-ai/sdk': ['activities/llm/anthropic.ts'],
  openai: ['activities/llm/openai.ts'],
  '@google/genai': ['activities/llm/google.ts'],
  '@e2b/code-interpreter': [
    'activities/sandbox/execute.ts',
    'activities/sandbox/programs.ts',
    'activities/sandbox/provider.ts',
  ],
  e2b: [],
};

describe('the touchpoints with paid providers', () => {
  test.each(Object.entries(touchpoints))('%s is imported where it is wrapped, and nowhere else', (sdk, allowed) => {
    const imports = new RegExp(`(from|import|require)\\s*\\(?\\s*'${sdk}(/[^']*)?'`);
    expect(sources.filter(({ text }) => imports.test(text)).map(({ name }) => name)).toEqual(allowed);
  });

  test('the only other code that speaks HTTP is the webhook of alerts, the client of this API, the look whether one answers here, the MCP server, which asks this API in place, what Google’s SDK sends by, tools of tenants’ own, and the proxy, which calls with a claim', () => {
    const speaks = /\bfetch\(|^import (?!type ).*from '(node:)?https?'|axios|undici/m;
    expect(sources.filter(({ text }) => speaks.test(text)).map(({ name }) => name)).toEqual([
      'tools/http-tool.ts',
      'tools/look.ts',
      'tools/mcp-tool.ts',
      'tools/outbound.ts',
      'activities/llm/google.ts',
      'activities/notify/webhook.ts',
      'api/mcp/routes.ts',
      'api/proxy/provider.ts',
      'api/proxy/server.ts',
      'client/http.ts',
      'cli/running-starts.ts',
    ]);
  });

  test('the proxy asks a provider for what is billed in one place, once its money is claimed', () => {
    const asking = sources.filter(({ text }) => /\baskProvider\(/.test(text)).map(({ name }) => name);
    expect(asking).toEqual(['api/proxy/exchange.ts', 'api/proxy/provider.ts']);
    const { text = '' } = sources.find(({ name }) => name === 'api/proxy/exchange.ts') ?? {};
    const calls = [...text.matchAll(/this\.ask\((.*)\)/g)].map(([, given = '']) => given);
    expect(calls).toEqual([
      'url, { method, body: bytes, answerMs: providerWaits.freeMs, onSent }',
      "url, { method: 'POST', body: bytes, answerMs: providerWaits.answerMs, onSent }",
      "new URL(path, 'http://proxy'), asked",
    ]);
    // The one that is billed comes after `pay`, which claims.
    expect(text).toMatch(
      /const paid = await this\.pay\(askedIn\(bytes\), call\);\s+const \{ url, onSent \} = this\.exchanged;\s+\/\/.*\s+return this\.ask\(url, \{ method: 'POST'/,
    );
  });

  test('the plugin calls an activity that costs money once its money is claimed', () => {
    const { text = '' } = sources.find(({ name }) => name === 'workers/plugin/paid-activities.ts') ?? {};
    // One that is budgeted already, one that costs nothing, and one after its hold.
    expect([...text.matchAll(/\bnext\(/g)]).toHaveLength(3);
    expect(text).toMatch(/if \(budgeted\.has\(this\.context\)\) return next\(input\);/);
    expect(text).toMatch(/if \(!planning\) return next\(input\);/);
    expect(text).toMatch(
      /return \(await this\.boughtBefore\(scope\)\) \?\? this\.holdOrBought\(planned, scope\);[^]*if \('result' in found\) return found\.result;\s+const \{ planned, held \} = found;[^]*return this\.call\(held, \{ planned, time \}, \(\) => next\([^]*return \{ planned, held: await this\.hold\(planned, scope\) \};/,
    );
  });

  /** Activities that claim money, by looking for the claim in what implements them. */
  const claiming = ['callModel', 'compactContext', 'createSandbox', 'extendSandbox', 'resumeSandbox', 'runPaidTools'];

  test('the activities that claim money are these', () => {
    const files = sources.filter(
      ({ name, text }) => name.startsWith('activities/') && /paidCalls\.(claim|underClaim)\(/.test(text),
    );
    expect(files.map(({ name }) => name)).toEqual([
      'activities/llm/paid-call.ts',
      'activities/sandbox/create.ts',
      'activities/sandbox/lifetime.ts',
      'activities/sandbox/programs.ts',
    ]);
    const made = sources.filter(({ text }) => /makePaidCall\(dependencies/.test(text)).map(({ name }) => name);
    expect(made).toEqual(['activities/llm/compaction.ts', 'activities/llm/index.ts', 'activities/llm/paid-call.ts']);
  });

  /** The calls of a method in workflow code, or in one file of it, each with whether it stands in what `withBudget` was given. */
  function callsOf(method: string, within = 'workflows/'): { where: string; isGranted: boolean }[] {
    return sources
      .filter(({ name }) => name.startsWith(within))
      .flatMap(({ name, text }) => {
        const found: { where: string; isGranted: boolean }[] = [];
        const file = ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true);
        const visit = (node: ts.Node): void => {
          if (ts.isCallExpression(node) && nameOf(node) === method)
            found.push({ where: name, isGranted: standsIn(node, 'withBudget') });
          ts.forEachChild(node, visit);
        };
        visit(file);
        return found;
      });
  }
  /** What is called; an activity may be called with options of this one call. */
  const nameOf = ({ expression }: ts.CallExpression): string => {
    if (!ts.isPropertyAccessExpression(expression)) return expression.getText();
    const { name, expression: of } = expression;
    return name.text === 'executeWithOptions' && ts.isPropertyAccessExpression(of) ? of.name.text : name.text;
  };
  const standsIn = (node: ts.Node, method: string): boolean => {
    for (let at: ts.Node = node; at.parent; at = at.parent) {
      if (ts.isArrowFunction(at) && ts.isCallExpression(at.parent) && nameOf(at.parent) === method) return true;
      // What an object does under a grant that its caller was given: a session for whoever has it, others for themselves.
      if (ts.isMethodDeclaration(at)) {
        const isPrivate = at.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword) ?? false;
        if (!isPrivate && at.name.getText() !== 'executePaid') return false;
        const calls = callsOf(at.name.getText(), isPrivate ? at.getSourceFile().fileName : undefined);
        return calls.length > 0 && calls.every(({ isGranted }) => isGranted);
      }
    }
    return false;
  };

  test.each([...claiming, 'executePaid'])('%s is called under a grant of withBudget, and not otherwise', (activity) => {
    const calls = callsOf(activity);
    expect(calls.length).toBeGreaterThan(0);
    expect(calls.filter(({ isGranted }) => !isGranted)).toEqual([]);
  });

  test('a call beside withBudget would be told', () => {
    const file = ts.createSourceFile('x.ts', 'async () => { await paid.callModel(1); }', ts.ScriptTarget.ES2022, true);
    const calls: boolean[] = [];
    const visit = (node: ts.Node): void => {
      if (ts.isCallExpression(node)) calls.push(standsIn(node, 'withBudget'));
      ts.forEachChild(node, visit);
    };
    visit(file);
    expect(calls).toEqual([false]);
  });
});

describe('with an authority that refuses everything', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  test('a long mixed conversation makes no billable call', async () => {
    // Something is left, so the gate lets messages through; no step fits it, so the authority refuses every reservation.
    const tenantId = await stack.tenant('0.000001');
    const file = { name: 'data.csv', contentBase64: Buffer.from('a\n1\n').toString('base64') };
    const options = {
      file,
      compaction: { contextTokens: 1_000, atShare: 0.1 },
      tools: [{ name: 'run_code', priceUsd: '0.01' }],
    };
    const talk = await TestConversation.start(api, tenantId, {
      ...options,
      fallbackModels: ['gpt-4o', 'gemini-2.5-flash'],
    });
    for (let turn = 0; turn < 12; turn += 1) {
      const events = await talk.say(`${turn}: profile the file. ${'and so on '.repeat(200)}`);
      expect(events.at(-1)?.data).toMatchObject({ status: 'quota_exceeded' });
    }
    await stack
      .start({ tenantId, file: { name: 'a.csv', content: 'a\n1\n' }, task: 'Profile it.' })
      .then((started) => stack.finish({ tenantId, ...started }));
    for (const standIn of [stack.anthropic, stack.openai, stack.google])
      expect(standIn.calls()).toMatchObject({ billable: 0, refused: 0 });
    expect(stack.e2b.calls()).toMatchObject({ created: 0, executed: 0 });
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0', reservedUsd: '0', openReservations: 0 });
  });

  test('a priced tool of the tenant’s own is reached by nobody, and by none but a claimed call', async () => {
    const addresses = await ToolAddresses.start();
    try {
      const own = new OwnTools({ stack, api });
      const tenantId = await stack.tenant('5');
      expect((await own.add(tenantId, `${addresses.url}/weather`, { priceUsd: '0.5' })).status).toBe(201);
      // There is money for the model, and none for tools.
      await api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'tool', limitUsd: '0.4' }]);
      const refused = await own.ran(tenantId, [weatherCall], [{ name: 'weather' }]);
      expect(refused.run).toMatchObject({ status: 'quota_exceeded', failure: { quota: { resourceType: 'tool' } } });
      expect([addresses.heard, refused.told, refused.costs]).toEqual([[], [], []]);
      await own.settled(tenantId);

      await api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'tool', limitUsd: '0.5' }]);
      const granted = await own.ran(tenantId, [weatherCall], [{ name: 'weather' }]);
      expect(granted.costs).toEqual([{ usd: '0.5', settlement: 'actual' }]);
      expect(addresses.heard).toHaveLength(1);
      // Its claim came before the call that was heard.
      const { rows } = await stack.admin.query<{ claimedMs: number; status: string }>(
        `SELECT (extract(epoch FROM claimed_at) * 1000)::float8 AS "claimedMs", status FROM copilot_internal.reservations
         WHERE tenant_id = $1 AND kind = 'tool.call' AND status <> 'denied'`,
        [tenantId],
      );
      expect(rows).toMatchObject([{ status: 'committed' }]);
      expect(rows[0]?.claimedMs).toBeLessThanOrEqual(addresses.heard[0]?.atMs ?? 0);
      await own.settled(tenantId);
    } finally {
      await addresses.close();
    }
  });

  test('a denied message costs one read and reaches nobody', async () => {
    const tenantId = await stack.tenant('0');
    const key = await api.keyOf(tenantId);
    const { body } = await api.call('POST', '/v1/conversations', { key, body: {} });
    const path = `/v1/conversations/${String(body.conversationId)}/messages`;
    // Whoever asks, and for which tenant, is remembered from here on.
    await api.call('POST', path, { key, body: { message: 'hello' } });
    const before = stack.anthropic.calls();
    const queries = jest.spyOn(stack.pool, 'connect');
    const answer = await api.call('POST', path, {
      key,
      body: { message: 'hello' },
      headers: { 'idempotency-key': 'k1' },
    });
    expect(queries).toHaveBeenCalledTimes(1);
    queries.mockRestore();
    expect(answer).toMatchObject({ status: 429, body: { error: 'quota_exceeded', quotaDetails: { limitUsd: 0 } } });
    expect(stack.anthropic.calls()).toEqual(before);
    const { rows } = await stack.admin.query('SELECT FROM copilot_internal.turns WHERE tenant_id = $1', [tenantId]);
    expect(rows).toEqual([]);
  });
});
