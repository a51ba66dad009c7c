/**
 * Other people's agents of an installation under chaos: streams through the wire proxy, and agents of Temporal's AI SDK integration on
 * a worker with the plugin, which knows nothing of it but an API's address and a key. They have a tenant and a provider of their own, so
 * that what the provider was asked can be set against the books.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { createApiKey } from '../../store/api-keys';
import { createPool, type Pool } from '../../store/pool';
import { startAnthropicStandIn, type AnthropicStandIn } from '../stand-ins';
import { brokenSource, type BrokenBuild } from './breaking';

export const agentsTenant = 'chaos-agents';
const model = 'claude-haiku-4-5';
const taskQueue = 'chaos-agents';
const words = 'A sentence of an answer that is paid for by the word. ';
/** What each answer says that it used: $0.002. */
const usage = { input_tokens: 1_000, output_tokens: 200 };
export const answerUsd = '0.002';
/** A hold lasts so long without word of its call. */
export const doorHoldSeconds = 10;
/** How long a call of an agent may take before its workflow has it made again. */
const callSeconds = 8;
const agentEndsMs = 180_000;
const root = path.join(__dirname, '..', '..');

/** A stream through the proxy, as its client saw it. */
export interface DoorStream {
  operationId: string | undefined;
  /** Its end came. */
  isWhole: boolean;
}

interface DoorsOptions {
  dataDir: string;
  temporalAddress: string;
  temporal: Client;
  /** Of the one API that the agents' worker asks. */
  apiUrl: () => string;
  broken: Partial<BrokenBuild>;
  appliedFile: string;
}

export class Doors {
  readonly streams: DoorStream[] = [];
  readonly agents: string[] = [];
  private key = '';
  private worker: ChildProcess | undefined;
  private isUp: Promise<unknown> = Promise.resolve();
  private isClosing = false;

  private constructor(
    readonly provider: AnthropicStandIn,
    private readonly options: DoorsOptions,
  ) {}

  static async start(options: DoorsOptions): Promise<Doors> {
    const knobs = { latencyMs: 200, deltaSpacingMs: 50, usage };
    return new Doors(await startAnthropicStandIn({ knobs }), options);
  }

  /** Once its tenant is there. */
  async open(appUrl: string): Promise<void> {
    const pool: Pool = createPool(appUrl, { max: 1 });
    ({ key: this.key } = await createApiKey(pool, { tenantId: agentsTenant, role: 'agent' }));
    await pool.end();
    this.startWorker();
    await this.isUp;
  }

  /** Begins a stream at one API. Resolves once some of it has come, or none will; `ended` once no more comes. */
  async stream(apiUrl: string): Promise<{ ended: Promise<void> }> {
    this.provider.knobs.replies.push({ text: words.repeat(100) });
    const body = { model, max_tokens: 2_000, stream: true, messages: [{ role: 'user', content: 'Say something.' }] };
    const answer = await fetch(`${apiUrl}/proxy/anthropic/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': this.key, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    }).catch(() => undefined);
    if (!answer?.ok || !answer.body) return { ended: Promise.resolve() };
    const seen: DoorStream = {
      operationId: answer.headers.get('x-spendlock-operation-id') ?? undefined,
      isWhole: false,
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

  /** Begins an agent, which asks its model once. */
  async agent(): Promise<void> {
    const workflowId = `agent/${randomUUID()}`;
    const args = [{ modelId: `anthropic:${model}`, prompt: 'Say something.', maxOutputTokens: 1_000, callSeconds }];
    await this.options.temporal.workflow.start('weatherAgent', { workflowId, taskQueue, args });
    this.agents.push(workflowId);
  }

  /** Kills the agents' worker once their provider has answered the next call, within so long of it; another takes its place. */
  async killAsAnswered(withinMs: number): Promise<void> {
    const { answered } = this.provider.calls();
    for (const endMs = Date.now() + 10_000; this.provider.calls().answered === answered && Date.now() < endMs;)
      await sleep(1);
    await sleep(withinMs);
    const gone = this.worker && once(this.worker, 'exit');
    this.worker?.kill('SIGKILL');
    await gone;
    await this.isUp;
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
    this.isClosing = true;
    const { worker } = this;
    if (worker?.exitCode === null && worker.signalCode === null) {
      const gone = once(worker, 'exit');
      worker.kill('SIGKILL');
      await gone;
    }
    await this.provider.stop();
  }

  private startWorker(): void {
    const { broken, appliedFile, dataDir, temporalAddress, apiUrl } = this.options;
    const { execArgv, env } = brokenSource(broken, appliedFile);
    const asked = {
      ...{ address: temporalAddress, taskQueue, bundlePath: path.join(dataDir, 'agents.js') },
      ...{ anthropicUrl: this.provider.url, openaiUrl: this.provider.url },
      plugin: { baseUrl: apiUrl(), apiKey: this.key, holdSeconds: doorHoldSeconds },
    };
    const { PATH, HOME } = process.env;
    const file = path.join(root, 'test', 'support', 'agent-worker.ts');
    const worker = fork(path.join(root, 'scripts', 'run.cjs'), [file], {
      execArgv: [...execArgv, '--conditions=spendlock-source'],
      stdio: ['ignore', 'ignore', process.env.SPENDLOCK_CHAOS_LOG_LEVEL ? 'inherit' : 'ignore', 'ipc'],
      env: { PATH, HOME, AGENT_WORKER: JSON.stringify(asked), ...env },
    });
    this.worker = worker;
    const gone = once(worker, 'exit');
    this.isUp = Promise.race([once(worker, 'message'), gone]);
    // Its server may have been away while it started.
    void gone.then(async () => {
      await sleep(200);
      if (!this.isClosing) this.startWorker();
    });
  }
}
