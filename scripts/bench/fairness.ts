/**
 * Whether a person waits for another tenant's backlog: turns of a conversation, one at a time, first while nothing else is done, then
 * while four hundred runs of another tenant wait for slow calls of models. Both are measured in this run, one after the other, and what
 * counts is the ratio of the two.
 */
import { createSpendlockClient, type SpendlockClient } from '../../client';
import { createApiKey } from '../../store/api-keys';
import { createPool, type Pool } from '../../store/pool';
import { startAnthropicStandIn, startOpenAiStandIn } from '../stand-ins';
import type { AuthorityBench } from './authority';
import { benchTenant } from './bench-tenant';
import { BenchProcesses } from './processes';
import { median, quantile, type Print } from './report';

const runs = 400;
/** How many of them are begun at once. */
const atOnce = 25;
const turns = 40;
/** Turns that are not measured: a first one finds nothing warm. */
const warmTurns = 5;
/** How long the model of the turns takes, and that of the runs: so long that its calls take every slot there is. */
const latencyMs = { turn: 200, run: 30_000 };
const model = { turn: 'claude-sonnet-5', run: 'gpt-5-mini' };

export async function measureFairness({ databaseUrl, temporalAddress }: AuthorityBench, print: Print): Promise<void> {
  const person = await startAnthropicStandIn({ knobs: { latencyMs: latencyMs.turn } });
  const slow = await startOpenAiStandIn({ knobs: { latencyMs: latencyMs.run } });
  const processes = new BenchProcesses();
  const pool = createPool(databaseUrl);
  try {
    await processes.startWorker(databaseUrl, temporalAddress, {
      ANTHROPIC_API_KEY: 'stand-in',
      ANTHROPIC_BASE_URL: person.url,
      OPENAI_API_KEY: 'stand-in',
      OPENAI_BASE_URL: slow.url,
    });
    const { url } = await processes.startApi({ backend: 'authority', databaseUrl, address: temporalAddress });
    const clientOf = async (tenantId: string): Promise<SpendlockClient> =>
      createSpendlockClient({ baseUrl: url, apiKey: await keyOf(pool, tenantId) });
    const calm = await clientOf('bench-person');
    const { conversationId } = await calm.conversations.create({ model: model.turn });
    const turn = (): Promise<number> => turnMs(calm, conversationId);
    await series(turn, warmTurns);
    const alone = await series(turn, turns);
    await beginRuns(await clientOf('bench-backlog'));
    const waiting = (): number => runs - slow.calls().answered;
    const waitingBefore = waiting();
    const beside = await series(turn, turns);
    const about = { runs, turns, waitingBefore, waitingAfter: waiting(), repetitions: 1 };
    print('fairness.turn_alone_p50_ms', median(alone), 'ms', about);
    print('fairness.turn_alone_p95_ms', quantile(alone, 0.95), 'ms', about);
    print('fairness.turn_beside_p50_ms', median(beside), 'ms', about);
    print('fairness.turn_beside_p95_ms', quantile(beside, 0.95), 'ms', about);
    print('fairness.turn_p50_ratio', median(beside) / median(alone), '', about);
    print('fairness.turn_p95_ratio', quantile(beside, 0.95) / quantile(alone, 0.95), '', about);
    if (waiting() <= 0)
      throw new Error('The runs were through before the turns beside them were: nothing was measured.');
  } finally {
    await processes.stop();
    await Promise.all([person.stop(), slow.stop(), pool.end()]);
  }
}

async function keyOf(pool: Pool, tenantId: string): Promise<string> {
  return (await createApiKey(pool, { tenantId: await benchTenant(pool, tenantId) })).key;
}

async function series(one: () => Promise<number>, count: number): Promise<number[]> {
  const tookMs: number[] = [];
  while (tookMs.length < count) tookMs.push(await one());
  return tookMs;
}

/** From the message to the end of its turn. */
async function turnMs(client: SpendlockClient, conversationId: string): Promise<number> {
  const startedMs = performance.now();
  let answer = '';
  for await (const event of client.conversations.stream(conversationId, { message: 'Good morning.' }))
    if (event.type === 'delta') answer += event.data.text as string;
  if (answer === '') throw new Error('A turn of the benchmark was not answered.');
  return performance.now() - startedMs;
}

async function beginRuns(client: SpendlockClient): Promise<void> {
  let begun = 0;
  const begin = async (): Promise<void> => {
    while (begun < runs) {
      begun += 1;
      await client.runs.start({ task: 'Say something.', model: model.run });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, begin));
}
