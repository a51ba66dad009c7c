/**
 * Whether a person waits for another tenant's backlog: turns of a conversation, one at a time, while nothing else is done, while another
 * tenant begins a thousand runs, and while these wait for slow calls of models. All are measured in this run, one after the other, and
 * what counts is their ratio to the first.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createSpendlockClient, type SpendlockClient } from '../../client';
import { createApiKey } from '../../store/api-keys';
import { asTenant, createPool, type Pool } from '../../store/pool';
import { startAnthropicStandIn, startOpenAiStandIn } from '../stand-ins';
import type { AuthorityBench } from './authority';
import { benchTenant } from './bench-tenant';
import { BenchProcesses } from './processes';
import { quantile, type Print } from './report';

const runs = 1_000;
/** How many of them are begun at once. */
const atOnce = 25;
const turns = 40;
/** Turns that are not measured: a first one finds nothing warm. */
const warmTurns = 5;
/** Longer than a thousand runs take until each waits for its call. */
const beginSecondsMax = 240;
/**
 * How long the model of the turns takes, and that of the runs: so long that its calls take every slot there is, and each another time, so
 * that they end one by one.
 */
const latencyMs = { turn: 200, run: { least: 15_000, most: 45_000 } };
const model = { turn: 'claude-sonnet-5', run: 'gpt-5-mini' };

export async function measureFairness({ databaseUrl, temporalAddress }: AuthorityBench, print: Print): Promise<void> {
  const person = await startAnthropicStandIn({ knobs: { latencyMs: latencyMs.turn } });
  const slow = await startOpenAiStandIn({ knobs: { latencyMs: latencyMs.run.most } });
  const { least, most } = latencyMs.run;
  const varying = setInterval(() => (slow.knobs.latencyMs = least + Math.random() * (most - least)), 5);
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
    const backlog = 'bench-backlog';
    const begins = beginRuns(await clientOf(backlog)).then(() => allHaveReserved(pool, backlog));
    const whileBegun = await seriesUntil(begins, turn);
    const waiting = (): number => runs - slow.calls().answered;
    const waitingBefore = waiting();
    const beside = await series(turn, turns);
    const about = { runs, repetitions: 1 };
    tell(print, 'alone', alone, alone, about);
    tell(print, 'while_runs_begin', whileBegun, alone, about);
    tell(print, 'beside_waiting_runs', beside, alone, { ...about, waitingBefore, waitingAfter: waiting() });
    if (waiting() <= 0)
      throw new Error('The runs were through before the turns beside them were: nothing was measured.');
  } finally {
    clearInterval(varying);
    await processes.stop();
    await Promise.all([person.stop(), slow.stop(), pool.end()]);
  }
}

async function keyOf(pool: Pool, tenantId: string): Promise<string> {
  return (await createApiKey(pool, { tenantId: await benchTenant(pool, tenantId) })).key;
}

function tell(print: Print, when: string, tookMs: number[], alone: number[], about: object): void {
  const more = { turns: tookMs.length, ...about };
  for (const [name, share] of [
    ['p50', 0.5],
    ['p95', 0.95],
  ] as const) {
    const ms = quantile(tookMs, share);
    const overAlone = Math.round((ms / quantile(alone, share)) * 100) / 100;
    print(`fairness.turn_${when}_${name}_ms`, ms, 'ms', { ...more, overAlone });
  }
}

/** Each run has asked for the money of its call, and waits for nothing but its turn to make it. */
async function allHaveReserved(pool: Pool, tenantId: string): Promise<void> {
  const untilMs = performance.now() + beginSecondsMax * 1_000;
  while (performance.now() < untilMs) {
    const reserved = await asTenant(pool, tenantId, async (client) => {
      const { rows } = await client.query<{ runs: number }>(
        'SELECT count(DISTINCT run_id)::integer AS runs FROM copilot_internal.reservations WHERE tenant_id = $1',
        [tenantId],
      );
      return rows[0]?.runs;
    });
    if (reserved === runs) return;
    await sleep(500);
  }
  throw new Error(`Not all of ${runs} runs had asked for money within ${beginSecondsMax} s.`);
}

/** One at a time for as long as something takes. */
async function seriesUntil(ended: Promise<void>, one: () => Promise<number>): Promise<number[]> {
  const tookMs: number[] = [];
  let isOver = false;
  const over = ended.finally(() => (isOver = true));
  while (!isOver) tookMs.push(await one());
  await over;
  return tookMs;
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
