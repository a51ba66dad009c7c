/** Workers of other people's agents, for tests of the plugin: each in a process of its own, which can be killed. */
import { fork, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { WorkflowOptions } from '@temporalio/client';
import type { AgentWorkerOptions } from './agent-worker';
import type { AgentEnd, AskAgent } from './agent-workflows';
import type { TestStack } from './stack';

/** What a workflow says of itself beside its arguments. */
type Named = Pick<WorkflowOptions, 'memo' | 'typedSearchAttributes'>;

const runner = path.join(__dirname, '..', '..', 'scripts', 'run.cjs');

export class AgentWorkers {
  private readonly children = new Set<ChildProcess>();
  private readonly folder = mkdtempSync(path.join(tmpdir(), 'spendlock-agents-'));

  constructor(private readonly stack: TestStack) {}

  /** Starts one on a task queue of its own, unless another is named. */
  async start(
    plugin: AgentWorkerOptions['plugin'],
    { taskQueue = `agents-${randomUUID()}`, ...more }: { taskQueue?: string; address?: string } = {},
  ): Promise<AgentWorker> {
    const { child, logged } = await this.run({ taskQueue, ...(plugin ? { plugin } : {}), ...more });
    return new AgentWorker(this.stack, { child, taskQueue, logged });
  }

  /** Replays histories as a worker with the plugin, or without. @throws Error with what it said where one does not replay. */
  async replay(histories: unknown[], plugin: AgentWorkerOptions['plugin']): Promise<unknown> {
    const { told } = await this.run({ taskQueue: 'none', histories, ...(plugin ? { plugin } : {}) });
    return told;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.children].map((child) => endOf(child, 'SIGTERM')));
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async run(more: Pick<AgentWorkerOptions, 'taskQueue' | 'plugin' | 'histories'> & { address?: string }) {
    const { anthropic, openai, google } = this.stack;
    const address = process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '';
    const bundlePath = path.join(this.folder, 'workflows.js');
    const options: AgentWorkerOptions = {
      address,
      bundlePath,
      anthropicUrl: anthropic.url,
      openaiUrl: openai.url,
      googleUrl: google.url,
      ...more,
    };
    const { PATH, HOME } = process.env;
    const child = fork(runner, [path.join(__dirname, 'agent-worker.ts')], {
      execArgv: ['--conditions=spendlock-source'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { PATH, HOME, AGENT_WORKER: JSON.stringify(options) },
    });
    this.children.add(child);
    let logged = '';
    child.stderr?.on('data', (data: Buffer) => (logged += data.toString()));
    const gone = once(child, 'exit').then(() => {
      this.children.delete(child);
      return undefined;
    });
    const [told] = ((await Promise.race([once(child, 'message'), gone])) as [unknown] | undefined) ?? [];
    if (told === undefined) throw new Error(`The worker ended while it started:\n${logged}`);
    return { child, told, logged: () => logged };
  }
}

export class AgentWorker {
  constructor(
    private readonly stack: TestStack,
    private readonly process: { child: ChildProcess; taskQueue: string; logged: () => string },
  ) {}

  get taskQueue(): string {
    return this.process.taskQueue;
  }

  /** Everything that it logged. */
  logged(): string {
    return this.process.logged();
  }

  /** Starts an agent. */
  async begin(workflowType: string, asked: AskAgent, named: Named = {}) {
    return this.stack.temporal.workflow.start(workflowType, {
      workflowId: `agent/${randomUUID()}`,
      taskQueue: this.taskQueue,
      args: [asked],
      ...named,
    });
  }

  /** Runs one to its end. */
  async ask(workflowType: string, asked: AskAgent, named?: Named): Promise<AgentEnd> {
    return (await (await this.begin(workflowType, asked, named)).result()) as AgentEnd;
  }

  kill(): Promise<void> {
    return endOf(this.process.child, 'SIGKILL');
  }

  stop(): Promise<void> {
    return endOf(this.process.child, 'SIGTERM');
  }
}

async function endOf(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}
