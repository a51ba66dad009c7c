/** A whole Spendlock of one's own for a test file: database, stand-ins, workers in processes of their own, and clients. */
import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection, ScheduleNotFoundError, WorkflowFailedError } from '@temporalio/client';
import type { FaultPoint } from '../../activities/budget/paid-calls';
import { isBackPressure } from '../../authority/client/signals';
import type { ProcessDependencies } from '../../api/http/context';
import type { BudgetCommand } from '../../core/budget/commands';
import { showRun } from '../../api/runs/service';
import { startRun } from '../../api/runs/starting';
import { startRunBody, type RunView, type StartedRun } from '../../api/runs/schemas';
import {
  startAnthropicStandIn,
  startE2bStandIn,
  startGoogleStandIn,
  startOpenAiStandIn,
  type AnthropicStandIn,
  type E2bStandIn,
  type GoogleStandIn,
  type OpenAiStandIn,
} from '../../scripts/stand-ins';
import { signallingConnection } from '../../temporal/connection';
import { deciderFrom } from '../../store/decider';
import { createPool, type Pool } from '../../store/pool';
import { readPrices } from '../../store/prices';
import { toolSettingsFrom } from '../../tools/settings';
import { findRun } from '../../store/runs';
import { setQuotas } from '../../store/quotas';
import { createTenant } from '../../store/tenants';
import { createLog } from '../../telemetry/log';
import { budgetCommandsSignal, budgetStateQuery, budgetWorkflowId, taskQueues } from '../../contracts/messages';
import { scheduleIds, type ScheduledWorkflow } from '../../workers/schedules';
import { startTelemetry } from '../../telemetry/start';
import { createTestDatabase, type TestDatabase } from './database';
import type { HostedWorkers } from './host-environment';

const runner = path.join(__dirname, '..', '..', 'scripts', 'run.cjs');

export interface TestWorker {
  process: ChildProcess;
  /** Resolves when it is gone. */
  gone: Promise<void>;
  kill(): Promise<void>;
  stop(): Promise<void>;
  /** Everything that it logged. */
  logged(): string;
}

export interface StartTestRun {
  parentRunId?: string;
  onUnavailable?: 'wait' | 'deny' | 'allow';
  onDenied?: 'fail' | 'wait' | 'ask';
  askDays?: number;
  fallbackModels?: string[];
  tenantId: string;
  task?: string;
  file?: { name: string; content: string };
  model?: string;
  userId?: string;
  labels?: Record<string, string>;
  limits?: {
    maxSteps?: number;
    maxCostUsd?: string;
    lastCall?: boolean;
    timeoutSeconds?: number;
    maxOutputTokens?: number;
    guaranteedUsd?: string;
  };
  sandbox?: { tier?: string; windowSeconds?: number; executionSeconds?: number };
  tools?: { name: string; requiresApproval?: boolean; priceUsd?: string }[];
  compaction?: { contextTokens?: number; atShare?: number };
  answerSchema?: Record<string, unknown>;
}

export class TestStack {
  readonly prefix = `t${randomUUID().slice(0, 8)}`;
  readonly closing = new AbortController();
  private readonly workers: TestWorker[] = [];
  private readonly hosted: HostedWorkers[] = [];
  /** Each tells what is wrong that no test asserts: it fails the file, once everything is stopped. */
  readonly complaints: (() => readonly string[])[] = [];

  private constructor(
    readonly database: TestDatabase,
    readonly pool: Pool,
    /** As the superuser, who sees every tenant. */
    readonly admin: Pool,
    readonly connection: Connection,
    readonly temporal: Client,
    readonly anthropic: AnthropicStandIn,
    readonly e2b: E2bStandIn,
    readonly openai: OpenAiStandIn,
    readonly google: GoogleStandIn,
  ) {}

  static async start({
    worker = true,
    database: given,
  }: { worker?: boolean; database?: TestDatabase } = {}): Promise<TestStack> {
    const address = process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '';
    const database = given ?? (await createTestDatabase());
    const connection = await Connection.connect(signallingConnection({ address }));
    const emittedCode = new Set<string>();
    const anthropic = await startAnthropicStandIn({ emittedCode });
    const stack = new TestStack(
      database,
      createPool(database.appUrl),
      createPool(database.adminUrl, { max: 4, limits: { statementMs: 120_000, idleInTransactionMs: 120_000 } }),
      connection,
      new Client({ connection, plugins: [startTelemetry('test').plugin] }),
      anthropic,
      await startE2bStandIn({ allowedCode: emittedCode }),
      await startOpenAiStandIn({ emittedCode }),
      await startGoogleStandIn({ emittedCode }),
    );
    if (worker) await stack.startHosted();
    return stack;
  }

  /** Tools of tenants' own are on this machine here. */
  private readonly toolEnvironment = {
    SPENDLOCK_TOOL_KEYS: `test:${randomBytes(32).toString('base64')}`,
    SPENDLOCK_TOOL_HOSTS: '127.0.0.1',
  };

  /** What a worker of this stack is told, the stand-ins in the place of providers among it. */
  get workerEnvironment(): NodeJS.ProcessEnv {
    return {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      DATABASE_URL: this.database.appUrl,
      TEMPORAL_ADDRESS: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS,
      SPENDLOCK_TASK_QUEUE_PREFIX: this.prefix,
      ANTHROPIC_API_KEY: 'stand-in',
      ANTHROPIC_BASE_URL: this.anthropic.url,
      OPENAI_API_KEY: 'stand-in',
      OPENAI_BASE_URL: this.openai.url,
      GEMINI_API_KEY: 'stand-in',
      GEMINI_BASE_URL: this.google.url,
      E2B_API_KEY: 'stand-in',
      E2B_API_URL: this.e2b.url,
      E2B_SANDBOX_URL: this.e2b.url,
      SPENDLOCK_CODE_LANGUAGES: 'javascript',
      ...this.toolEnvironment,
      SPENDLOCK_SHUTDOWN_SECONDS: '5',
      LOG_LEVEL: 'debug',
      SPENDLOCK_MANDATES: process.env.SPENDLOCK_MANDATES,
    };
  }

  /** Starts workers that share their process with those of other files: nothing but their configuration is theirs alone. */
  async startHosted(environment: Record<string, string> = {}): Promise<HostedWorkers> {
    const workers = await spendlockStartHosted({ ...this.workerEnvironment, ...environment });
    this.hosted.push(workers);
    return workers;
  }

  /** Starts a worker in a process of its own. With a fault it kills itself, once, at that point. */
  async startWorker({
    fault,
    environment = {},
  }: { fault?: FaultPoint; environment?: Record<string, string> } = {}): Promise<TestWorker> {
    const faultFile = fault && path.join(mkdtempSync(path.join(tmpdir(), 'spendlock-fault-')), 'armed');
    if (faultFile) writeFileSync(faultFile, '');
    const child = fork(runner, [path.join(__dirname, 'worker-process.ts')], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: {
        ...this.workerEnvironment,
        SPENDLOCK_TEST_BUNDLE: process.env.SPENDLOCK_TEST_BUNDLE,
        ...(faultFile ? { SPENDLOCK_TEST_FAULT: `${fault}:${faultFile}` } : {}),
        ...environment,
      },
    });
    let logged = '';
    child.stderr?.on('data', (data: Buffer) => (logged += data.toString()));
    const gone = once(child, 'exit').then(() => undefined);
    await Promise.race([
      once(child, 'message'),
      gone.then(() => {
        throw new Error(`The worker ended while it started:\n${logged}`);
      }),
    ]);
    const end = async (signal: NodeJS.Signals): Promise<void> => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await gone;
    };
    const worker: TestWorker = {
      process: child,
      gone,
      kill: () => end('SIGKILL'),
      stop: () => end('SIGTERM'),
      logged: () => logged,
    };
    this.workers.push(worker);
    return worker;
  }

  /** What all workers have logged. */
  workerLog(): string {
    return [...this.hosted, ...this.workers].map((workers) => workers.logged()).join('');
  }

  /** A tenant whose quotas all have this limit for the month, and who waits for an answer as long as a busy machine may take. */
  async tenant(limitUsd: string, userLimit: { userLimitUsd?: string } = {}): Promise<string> {
    const tenantId = `t-${randomUUID().slice(0, 8)}`;
    await createTenant(this.pool, { tenantId });
    await this.setPolicy(tenantId, 'wait', 30_000);
    await this.setLimits(tenantId, limitUsd, userLimit);
    return tenantId;
  }

  /** Sets all of a tenant's quotas, and that of its user `ada`. */
  async setLimits(tenantId: string, limitUsd: string, { userLimitUsd }: { userLimitUsd?: string } = {}): Promise<void> {
    const tenantQuotas = (['all', 'llm', 'e2b'] as const).map((resourceType) => ({
      scope: 'tenant' as const,
      scopeId: tenantId,
      resourceType,
      period: 'month' as const,
      limitUsd,
    }));
    const user = { scope: 'user' as const, scopeId: 'ada', resourceType: 'all' as const, period: 'day' as const };
    await setQuotas(this.pool, {
      tenantId,
      changes: [...tenantQuotas, ...(userLimitUsd === undefined ? [] : [{ ...user, limitUsd: userLimitUsd }])],
    });
  }

  /** A tenant with $10, and what happens when its authority does not answer. */
  async tenantThat(onUnavailable: 'wait' | 'deny' | 'allow', answerTimeoutMs = 1_200): Promise<string> {
    const tenantId = await this.tenant('10');
    await this.setPolicy(tenantId, onUnavailable, answerTimeoutMs);
    return tenantId;
  }

  private async setPolicy(tenantId: string, onUnavailable: string, answerTimeoutMs: number): Promise<void> {
    await this.admin.query(
      'UPDATE copilot_internal.tenants SET on_unavailable = $2, answer_timeout_ms = $3 WHERE tenant_id = $1',
      [tenantId, onUnavailable, answerTimeoutMs],
    );
  }

  /** A priced model whose every token of output costs what is given, and whose prompt is free. */
  async priceModel(model: string, outputUsdPerMillionTokens: string): Promise<void> {
    await this.admin.query(
      `INSERT INTO copilot_internal.model_prices (price_version, provider, model, effective_from, input_usd_per_mtok,
         output_usd_per_mtok, cache_read_usd_per_mtok, cache_write_5m_usd_per_mtok, cache_write_1h_usd_per_mtok, notes, source, source_date)
       VALUES ($1, 'anthropic', $2, '2026-01-01', 0, $3, 0, 0, 0, 'for a test', 'test', '2026-01-01')`,
      [`anthropic/${model}@test`, model, outputUsdPerMillionTokens],
    );
  }

  /** Signals a tenant's authority past the API: again where the server turns it away, as it does while one continues as new. */
  async signal(tenantId: string, commands: BudgetCommand[]): Promise<void> {
    const send = (): Promise<unknown> =>
      this.temporal.workflow.signalWithStart('tenantBudget', {
        workflowId: budgetWorkflowId(tenantId),
        taskQueue: taskQueues(this.prefix).budget,
        args: [{ tenantId }],
        signal: budgetCommandsSignal,
        signalArgs: [commands],
      });
    await until('the server takes a signal', () =>
      send().then(
        () => true,
        (error: unknown) => {
          if (!isBackPressure(error)) throw error;
          return false;
        },
      ),
    );
  }

  /** Waits until a workflow has nothing under way: only a timer or a message can make it go on. */
  async rests(workflowId: string): Promise<void> {
    await until(`${workflowId} rests`, async () => {
      const { raw } = await this.temporal.workflow.getHandle(workflowId).describe();
      return !raw.pendingWorkflowTask && (raw.pendingActivities ?? []).length === 0;
    });
  }

  /**
   * From here on only the test starts what is on schedules, by the function that this answers: now and then a schedule would
   * come between what a test prepares and its own look.
   */
  async takeOverSchedules(): Promise<<R = unknown>(workflowType: ScheduledWorkflow) => Promise<R>> {
    const { budget: taskQueue } = taskQueues(this.prefix);
    for (const scheduleId of scheduleIds(taskQueue)) {
      const schedule = this.temporal.schedule.getHandle(scheduleId);
      await schedule.pause();
      const goesOn = async (): Promise<string[]> =>
        (await schedule.describe()).info.runningActions.map(({ workflow }) => workflow.workflowId);
      for (const workflowId of await goesOn()) {
        await this.rests(workflowId);
        await this.temporal.workflow.getHandle(workflowId).terminate();
      }
      await until('none is under way', async () => (await goesOn()).length === 0);
    }
    return async <R>(workflowType: ScheduledWorkflow) =>
      (await this.temporal.workflow.execute(workflowType, {
        workflowId: `${workflowType}/${randomUUID()}`,
        taskQueue,
        args: [{ once: true }],
      })) as R;
  }

  get api(): ProcessDependencies {
    return {
      pool: this.pool,
      temporal: this.temporal,
      log: createLog({ name: 'api', level: 'silent' }),
      taskQueuePrefix: this.prefix,
      defaultModel: 'claude-haiku-4-5',
      prices: () => readPrices(this.pool),
      tools: toolSettingsFrom(this.toolEnvironment),
      enforced: { llm: true, e2b: true },
      mandates: deciderFrom(process.env).decides,
      closing: this.closing.signal,
    };
  }

  /** Starts a run as the API does. */
  start({ tenantId, task = 'Say something.', file, ...more }: StartTestRun): Promise<StartedRun> {
    const body = startRunBody.parse({
      task,
      ...more,
      ...(file ? { file: { name: file.name, contentBase64: Buffer.from(file.content).toString('base64') } } : {}),
    });
    return startRun(this.api, { runId: randomUUID(), tenantId, body });
  }

  /** Waits for a run's end and shows it as the API does. */
  async finish({ tenantId, runId, workflowId }: StartedRun & { tenantId: string }): Promise<RunView> {
    await this.ended(workflowId);
    return this.show({ tenantId, runId });
  }

  /** Waits until a workflow has ended, however that was. */
  async ended(workflowId: string): Promise<void> {
    await this.temporal.workflow
      .getHandle(workflowId)
      .result()
      .catch((error: unknown) => {
        if (!(error instanceof WorkflowFailedError)) throw error;
      });
  }

  async show({ tenantId, runId }: { tenantId: string; runId: string }): Promise<RunView> {
    const run = await findRun(this.pool, { tenantId, runId });
    if (!run) throw new Error(`There is no run ${runId}`);
    return showRun(this.api, run);
  }

  async run(request: StartTestRun): Promise<RunView> {
    return this.finish({ tenantId: request.tenantId, ...(await this.start(request)) });
  }

  /** Waits until a tenant's authority shows its limit of `all` so: of what others decided by themselves it hears afterwards. */
  async authorityKnows(
    tenantId: string,
    shown: { spentUsd: string; reservedUsd: string; remainingUsd?: string },
  ): Promise<void> {
    const authority = this.temporal.workflow.getHandle(budgetWorkflowId(tenantId));
    await until(`the authority of ${tenantId} knows that its limit stands at ${JSON.stringify(shown)}`, async () => {
      const { quotas } = await authority.query(budgetStateQuery);
      const all = quotas.find(({ resourceType }) => resourceType === 'all');
      return Object.entries(shown).every(([name, value]) => all?.[name as keyof typeof shown] === value);
    });
  }

  /** What Postgres holds of a tenant's money, added up independently. */
  async books(
    tenantId: string,
  ): Promise<{ ledgerUsd: string; spentUsd: string; reservedUsd: string; openReservations: number }> {
    const { rows } = await this.admin.query<{ ledger: string; spent: string; reserved: string; open: number }>(
      `SELECT (SELECT trim_scale(coalesce(sum(amount_usd), 0))::text FROM copilot_internal.cost_records WHERE tenant_id = $1) AS ledger,
              trim_scale(current_spend_usd)::text AS spent, trim_scale(reserved_usd)::text AS reserved,
              (SELECT count(*)::integer FROM copilot_internal.reservations WHERE tenant_id = $1
                 AND (status = 'granted' OR (outcome IS NOT NULL AND NOT outcome_folded))) AS open
       FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND scope = 'tenant' AND resource_type = 'all'`,
      [tenantId],
    );
    const row = rows[0];
    if (!row) throw new Error(`The tenant ${tenantId} has no quota for all`);
    return { ledgerUsd: row.ledger, spentUsd: row.spent, reservedUsd: row.reserved, openReservations: row.open };
  }

  /** What would go on for nobody: the schedules of all files that have ended kept the server busier than some of the tests. */
  private async endSchedules(): Promise<void> {
    const end = (scheduleId: string): Promise<void> =>
      this.temporal.schedule
        .getHandle(scheduleId)
        .delete()
        .catch((error: unknown) => {
          if (!(error instanceof ScheduleNotFoundError)) throw error;
        });
    await Promise.all(scheduleIds(taskQueues(this.prefix).budget).map(end));
  }

  /** @throws Error for what nobody may leave behind, such as answers of the API that do not fit their description. */
  async stop(): Promise<void> {
    this.closing.abort();
    await Promise.all([...this.hosted, ...this.workers].map((workers) => workers.stop()));
    if (this.hosted.length + this.workers.length > 0) await this.endSchedules();
    await Promise.all([
      this.anthropic.stop(),
      this.openai.stop(),
      this.google.stop(),
      this.e2b.stop(),
      this.pool.end(),
      this.admin.end(),
      this.connection.close(),
    ]);
    await this.database.drop();
    const complaints = this.complaints.flatMap((complaint) => complaint());
    if (complaints.length > 0) throw new Error(complaints.join('\n'));
  }
}

/** The example file that ships with the repository. */
export const ordersCsv = (): string => readFileSync(path.join(__dirname, '..', '..', 'examples', 'orders.csv'), 'utf8');

/**
 * Waits until a condition holds, as long as a busy machine may take; a time is given where one is promised.
 * @throws Error when it does not within the time.
 */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 120_000,
): Promise<T> {
  for (const giveUpMs = Date.now() + timeoutMs; Date.now() < giveUpMs;) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`It did not happen within ${timeoutMs} ms: ${what}`);
}
