/**
 * Other people's agents of an installation under chaos: streams through the wire proxy, and agents of Temporal's AI SDK integration on
 * workers with the plugin, one of which knows nothing of it but an API's address and a key, the other Postgres and the budget's queue. They have a tenant and a provider of their own, so
 * that what the provider was asked can be set against the books.
 */
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { createApiKey } from '../../store/api-keys';
import { createPool, type Pool } from '../../store/pool';
import { startAnthropicStandIn, type AnthropicStandIn } from '../stand-ins';
import type { BrokenBuild } from './breaking';
import { DoorWorker } from './door-worker';

export const agentsTenant = 'chaos-agents';
const model = 'claude-haiku-4-5';
/** How the worker of each task queue reaches its budget. */
const agentQueues = { API: 'chaos-agents', Postgres: 'chaos-agents-postgres' };
type ReachedBy = keyof typeof agentQueues;
const words = 'A sentence of an answer that is paid for by the word. ';
/** Between two pieces of a stream; and how many of those words a piece has. */
const deltaSpacingMs = 50;
const wordsOfPiece = 200 / words.length;
/** What each answer says that it used: $0.002. */
const usage = { input_tokens: 1_000, output_tokens: 200 };
export const answerUsd = '0.002';
/** A hold lasts so long without word of its call. */
export const doorHoldSeconds = 10;
/** By Postgres a hold lasts three minutes, for which nobody wants to wait at a run's end. */
export const shortHoldByPostgres = {
  file: 'workers/plugin/money.ts',
  from: 'export const postgresHoldSeconds = 180;',
  to: `export const postgresHoldSeconds = ${doorHoldSeconds};`,
};
/** How long a call of an agent may take before its workflow has it made again. */
const callSeconds = 8;
const agentEndsMs = 180_000;

/** A stream through the proxy whose head came, as its client saw it. */
export interface DoorStream {
  operationId: string | undefined;
  /** What its prompt is marked by. */
  mark: string;
  /** Its end came. */
  isWhole: boolean;
}

/** What the provider billed of the prompts with one mark, which is the user whose calls they are. */
export interface DoorBill {
  /** When it was first asked by, and when it was last billed, in milliseconds since 1970. */
  askedMs: number;
  billedMs: number;
  calls: number;
}

interface DoorsOptions {
  dataDir: string;
  temporalAddress: string;
  temporal: Client;
  /** Of the one API that a worker of agents asks. */
  apiUrl: () => string;
  /** The Postgres that the other one uses, and which queue its budget is on. */
  databaseUrl: () => string;
  taskQueuePrefix: string;
  broken: Partial<BrokenBuild>;
  appliedFile: string;
}

export class Doors {
  readonly streams: DoorStream[] = [];
  readonly agents: string[] = [];
  /** By their marks. */
  readonly bills = new Map<string, DoorBill>();
  /** Workers that ended by themselves once they were up. */
  readonly unexpectedEnds: string[] = [];
  private key = '';
  private readonly workers = new Map<ReachedBy, DoorWorker>();

  private constructor(
    readonly provider: AnthropicStandIn,
    private readonly options: DoorsOptions,
  ) {}

  static async start(options: DoorsOptions): Promise<Doors> {
    const knobs = { latencyMs: 200, deltaSpacingMs, usage };
    const doors = new Doors(await startAnthropicStandIn({ knobs }), options);
    doors.provider.knobs.onBilled = (request) => doors.noteBilled(request);
    return doors;
  }

  private noteBilled(request: unknown): void {
    const mark = /agent\/[0-9a-f-]{36}/.exec(JSON.stringify(request))?.[0] ?? 'no mark';
    const bill = this.billOf(mark);
    bill.calls += 1;
    bill.billedMs = Date.now();
  }

  private billOf(mark: string): DoorBill {
    const bill = this.bills.get(mark) ?? { askedMs: Date.now(), billedMs: Date.now(), calls: 0 };
    this.bills.set(mark, bill);
    return bill;
  }

  /** What is asked of a model, which nobody else asks. */
  private asked(): { mark: string; prompt: string } {
    const mark = `agent/${randomUUID()}`;
    this.billOf(mark);
    return { mark, prompt: `Say something to ${mark}.` };
  }

  /** Once its tenant is there. */
  async open(appUrl: string): Promise<void> {
    const pool: Pool = createPool(appUrl, { max: 1 });
    ({ key: this.key } = await createApiKey(pool, { tenantId: agentsTenant, role: 'agent' }));
    await pool.end();
    // The first bundles the workflows for both.
    for (const by of Object.keys(agentQueues) as ReachedBy[]) {
      const worker = this.workerBy(by);
      this.workers.set(by, worker);
      await worker.start();
    }
  }

  private workerBy(by: ReachedBy): DoorWorker {
    const { broken, appliedFile, dataDir, temporalAddress, apiUrl, databaseUrl, taskQueuePrefix } = this.options;
    const reached =
      by === 'API' ? { baseUrl: apiUrl(), apiKey: this.key } : { databaseUrl: databaseUrl(), taskQueuePrefix };
    const scope = by === 'API' ? {} : { scope: { tenantId: agentsTenant } };
    const asked = {
      ...{ address: temporalAddress, taskQueue: agentQueues[by], bundlePath: path.join(dataDir, 'agents.js') },
      ...{ anthropicUrl: this.provider.url, openaiUrl: this.provider.url },
      plugin: { ...reached, ...scope, holdSeconds: doorHoldSeconds, usersAreWorkflows: true },
    };
    const endedByItself = (what: string): void => void this.unexpectedEnds.push(what);
    return new DoorWorker({ name: `a worker of agents by ${by}`, asked, broken, appliedFile, endedByItself });
  }

  /**
   * Begins a stream at one API, which lasts for about so long. Resolves once some of it has come, or none will; `ended` once no more
   * comes.
   */
  async stream(apiUrl: string, lastsMs: number): Promise<{ ended: Promise<void> }> {
    this.provider.knobs.replies.push({ text: words.repeat(Math.ceil((lastsMs / deltaSpacingMs) * wordsOfPiece)) });
    const { mark, prompt } = this.asked();
    const body = { model, max_tokens: 2_000, stream: true, messages: [{ role: 'user', content: prompt }] };
    const answer = await fetch(`${apiUrl}/proxy/anthropic/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': this.key, 'content-type': 'application/json', 'x-spendlock-user': mark },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    }).catch(() => undefined);
    if (!answer?.ok || !answer.body) return { ended: Promise.resolve() };
    const seen: DoorStream = {
      operationId: answer.headers.get('x-spendlock-operation-id') ?? undefined,
      ...{ mark, isWhole: false },
    };
    this.streams.push(seen);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const read = async (): Promise<void> => {
      for (let tail = ''; ;) {
        const { done, value } = await reader.read();
        if (done) return;
        tail = (tail + value).slice(-200);
        seen.isWhole ||= tail.includes('message_stop');
      }
    };
    return { ended: read().catch(() => undefined) };
  }

  /** Begins an agent, which asks its model once, on the worker that reaches its budget so. */
  async agent(by: ReachedBy): Promise<void> {
    const { mark: workflowId, prompt } = this.asked();
    const taskQueue = agentQueues[by];
    const args = [{ modelId: `anthropic:${model}`, prompt, maxOutputTokens: 1_000, callSeconds }];
    await this.options.temporal.workflow.start('weatherAgent', { workflowId, taskQueue, args });
    this.agents.push(workflowId);
  }

  /** Kills a worker of agents once their provider has answered the next call, within so long of it; another takes its place. */
  async killAsAnswered(by: ReachedBy, withinMs: number): Promise<void> {
    const { answered } = this.provider.calls();
    for (const endMs = Date.now() + 10_000; this.provider.calls().answered === answered && Date.now() < endMs;)
      await sleep(1);
    await sleep(withinMs);
    await this.workers.get(by)?.kill();
  }

  /** Those whose agent has not come to its end, once they have had time for it. */
  async unended(): Promise<string[]> {
    const open = new Set(this.agents);
    for (const endMs = Date.now() + agentEndsMs; open.size > 0 && Date.now() < endMs; await sleep(500))
      for (const workflowId of open) {
        const about = await this.options.temporal.workflow
          .getHandle(workflowId)
          .describe()
          .catch(() => undefined);
        if (about?.status.name === 'COMPLETED') open.delete(workflowId);
      }
    return [...open];
  }

  async stop(): Promise<void> {
    await Promise.all([...this.workers.values()].map((worker) => worker.stop()));
    await this.provider.stop();
  }
}
