/**
 * The chat API: its gate, how soon a streamed reply reaches its reader, and what idle conversations hold. The models and
 * sandboxes are stand-ins; worker and API are processes of their own.
 */
import { Client, Connection } from '@temporalio/client';
import { createSpendlockClient, type SpendlockClient } from '../../client';
import { createApiKey } from '../../store/api-keys';
import { createPool, type Pool } from '../../store/pool';
import { conversationWorkflowId } from '../../contracts/messages';
import { startAnthropicStandIn, startE2bStandIn, type AnthropicStandIn, type E2bStandIn } from '../stand-ins';
import type { AuthorityBench } from './authority';
import { benchTenant } from './bench-tenant';
import { BenchProcesses } from './processes';
import { median, quantile, type Print } from './report';

const gateChecks = 500;
const concurrentChecks = 100;
const messages = 60;
const idleConversations = 200;
/** How many of them are begun at once. */
const atOnce = 10;
const modelCalls = 30;

interface Chat {
  client: SpendlockClient;
  temporal: Client;
  anthropic: AnthropicStandIn;
  e2b: E2bStandIn;
  print: Print;
}

export async function measureChat({ databaseUrl, temporalAddress }: AuthorityBench, print: Print): Promise<void> {
  const anthropic = await startAnthropicStandIn();
  const e2b = await startE2bStandIn({ allowedCode: anthropic.emittedCode });
  const processes = new BenchProcesses();
  const pool = createPool(databaseUrl);
  const connection = await Connection.connect({ address: temporalAddress });
  try {
    await processes.startWorker(databaseUrl, temporalAddress, {
      SPENDLOCK_TASK_QUEUES: 'runs,budget,sandbox',
      ANTHROPIC_API_KEY: 'stand-in',
      ANTHROPIC_BASE_URL: anthropic.url,
      E2B_API_KEY: 'stand-in',
      E2B_API_URL: e2b.url,
      E2B_SANDBOX_URL: e2b.url,
      SPENDLOCK_CODE_LANGUAGES: 'javascript',
    });
    const { url } = await processes.startApi({ backend: 'authority', databaseUrl, address: temporalAddress });
    const client = createSpendlockClient({ baseUrl: url, apiKey: await keyOf(pool) });
    const chat = { client, temporal: new Client({ connection }), anthropic, e2b, print };
    await measureGate(chat);
    await measureFirstDelta(chat);
    await measureHistory(chat);
    await measureIdle(chat);
  } finally {
    await processes.stop();
    await Promise.all([anthropic.stop(), e2b.stop(), pool.end(), connection.close()]);
  }
}

async function keyOf(pool: Pool): Promise<string> {
  const tenantId = await benchTenant(pool, 'bench-chat');
  return (await createApiKey(pool, { tenantId })).key;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

/** The gate before a request, one after the other and a hundred at once. */
async function measureGate({ client, print }: Chat): Promise<void> {
  const check = (): Promise<unknown> => client.checkQuota({ amountUsd: '0.03' });
  for (let warm = 0; warm < 50; warm += 1) await check();
  const sample: number[] = [];
  for (let count = 0; count < gateChecks; count += 1) sample.push(await timed(check));
  for (const share of [0.5, 0.95, 0.99])
    print(`chat.gate_p${share * 100}_ms`, quantile(sample, share), 'ms', { checks: gateChecks });
  const all = await Promise.allSettled(Array.from({ length: concurrentChecks }, check));
  const errors = all.filter(({ status }) => status === 'rejected').length;
  print('chat.gate_concurrent_errors', errors, 'errors', { checks: concurrentChecks });
}

/** From the provider's first piece of a reply to the reader's, and from the message to the provider's. */
async function measureFirstDelta({ client, anthropic, print }: Chat): Promise<void> {
  const { conversationId } = await client.conversations.create();
  anthropic.knobs.deltaSpacingMs = 20;
  const behind: number[] = [];
  const before: number[] = [];
  for (let count = 0; count < messages; count += 1) {
    anthropic.knobs.replies = [{ text: `Reply ${count}. ${'Some more words. '.repeat(60)}` }];
    const sentAtMs = Date.now();
    let firstAtMs: number | undefined;
    for await (const { type } of client.conversations.stream(conversationId, { message: `Message ${count}.` }))
      if (type === 'delta') firstAtMs ??= Date.now();
    behind.push((firstAtMs ?? Date.now()) - anthropic.firstTextAtMs());
    before.push(anthropic.firstTextAtMs() - sentAtMs);
  }
  anthropic.knobs.deltaSpacingMs = 0;
  await client.conversations.close(conversationId);
  print('chat.first_delta_behind_provider_ms', median(behind), 'ms', { messages, p95: quantile(behind, 0.95) });
  print('chat.message_to_provider_ms', median(before), 'ms', { messages, p95: quantile(before, 0.95) });
}

/** Bytes of history for each model call, with a program every other step. */
async function measureHistory({ client, temporal, anthropic, print }: Chat): Promise<void> {
  const bytesOf = async (code: boolean): Promise<number> => {
    const { conversationId } = await client.conversations.create();
    anthropic.knobs.replies = Array.from({ length: modelCalls - 1 }, () =>
      code ? { text: '', code: '1' } : { text: 'x' },
    );
    anthropic.knobs.replies.push({ text: 'done' });
    for (let turn = 0; turn < (code ? 1 : modelCalls); turn += 1)
      for await (const _ of client.conversations.stream(conversationId, { message: 'go on' }));
    const { raw } = await temporal.workflow.getHandle(conversationWorkflowId(conversationId)).describe();
    await client.conversations.close(conversationId);
    return Number(raw.workflowExecutionInfo?.historySizeBytes) / modelCalls;
  };
  print('chat.history_bytes_per_message', await bytesOf(false), 'bytes', {
    modelCalls,
    what: 'a message and its reply',
  });
  print('chat.history_bytes_per_step', await bytesOf(true), 'bytes', {
    modelCalls,
    what: 'a model call and its program',
  });
}

/** Conversations that have a sandbox and are left alone: what they hold after their sandboxes were paused. */
async function measureIdle({ client, temporal, e2b, print }: Chat): Promise<void> {
  const ids: string[] = [];
  const begin = async (): Promise<void> => {
    const file = { name: 'data.csv', content: Buffer.from('a,b\n1,2\n') };
    const { conversationId } = await client.conversations.create({ file, sandbox: { pauseAfterSeconds: 1 } });
    for await (const _ of client.conversations.stream(conversationId, { message: 'Profile this file.' }));
    ids.push(conversationId);
  };
  for (let begun = 0; begun < idleConversations; begun += atOnce)
    await Promise.all(Array.from({ length: atOnce }, begin));
  for (let waits = 0; waits < 100 && e2b.calls().alive.length > 0; waits += 1)
    await new Promise((resolve) => setTimeout(resolve, 200));
  const pending = await Promise.all(
    ids.map(async (id) => {
      const { raw } = await temporal.workflow.getHandle(conversationWorkflowId(id)).describe();
      return (raw.pendingActivities?.length ?? 0) + (raw.pendingWorkflowTask ? 1 : 0);
    }),
  );
  const more = { conversations: ids.length, paused: e2b.calls().paused.length };
  print('chat.idle_sandboxes_running', e2b.calls().alive.length, 'sandboxes', more);
  print(
    'chat.idle_tasks_pending',
    pending.reduce((sum, count) => sum + count, 0),
    'tasks',
    more,
  );
  for (let closed = 0; closed < ids.length; closed += atOnce)
    await Promise.all(ids.slice(closed, closed + atOnce).map((id) => client.conversations.close(id)));
}
