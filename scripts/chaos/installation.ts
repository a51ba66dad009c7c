/**
 * A whole installation whose every part can be killed: Postgres and the Temporal server on data that they keep, two worker
 * processes, the API, stand-ins for the providers, and somebody who takes alerts.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import type { BudgetCommand } from '../../core/budget/commands';
import { budgetCommandsSignal, budgetWorkflowId, taskQueues } from '../../contracts/messages';
import { createApiKey } from '../../store/api-keys';
import { createPool, type Pool } from '../../store/pool';
import { freePort } from '../embedded/ports';
import { startPostgres, type RunningPostgres } from '../embedded/postgres';
import { startTemporal, type RunningTemporal } from '../embedded/temporal';
import { appUrlFor, migrate, randomPassword } from '../migrate';
import { startAnthropicStandIn, startE2bStandIn, type AnthropicStandIn, type E2bStandIn } from '../stand-ins';
import { assertApplied, assertSources, type BrokenBuild } from './breaking';
import { startDatabaseProxy, type DatabaseProxy } from './database-proxy';
import { doorHoldSeconds, Doors, shortHoldByPostgres } from './doors';
import { adminPool, bundleWorkflows, insist, lastOf, takeAlerts, toolEnvironment } from './installation-parts';
import { Processes } from './processes';
import { startStandby } from './standby';
import { ToolServer } from './tool-server';

/** Between processes and Postgres is a proxy that shares its process with the whole load: that way is not what they are judged by. */
const nearBehindProxy = {
  file: 'authority/client/promptness.ts',
  from: 'const farMs = 5;',
  to: 'const farMs = 5_000;',
};
/** What is broken on purpose of it, if anything. */
type Broken = Partial<BrokenBuild>;

export interface InstallationOptions {
  broken: Broken;
  /** Processes decide under mandates. */
  mandates: boolean;
  /** The folder of another version, which runs beside this one. */
  older?: string | undefined;
  /** Other people's agents take part. */
  doors: boolean;
}

const queuePrefix = 'chaos';
const workerCount = 2;
const root = path.join(__dirname, '..', '..');
const postgresFlags = ['-c', 'max_connections=200'];
/** Of an alert webhook on loopback that lives as long as the run. */
const webhookSecret = 'chaos-on-loopback';
/** An answer that was given by a Postgres that is lost arrives by then. */
const onItsWayMs = 5_000;

export class Installation {
  admin: Pool;
  /** When what Postgres had acknowledged was lost with it: no promise of ours reaches further than what Postgres keeps. */
  readonly lost: { fromMs: number; toMs: number }[] = [];
  /** When each alert arrived, in milliseconds since 1970. */
  readonly alerts = new Map<string, number[]>();
  /** How often a run was reset while a model answered it, by its workflow: that answer may be bought twice. */
  readonly resetInCall = new Map<string, number>();
  readonly processes: Processes;
  /** Runs and conversations that an operator reset, by their workflows. */
  readonly resets = new Set<string>();
  /** Other people's agents, where they take part. */
  doors: Doors | undefined;
  /** The tools of runs, where those call some. */
  tools: ToolServer | undefined;
  private readonly toolEnvironment = toolEnvironment();
  private postgresDir: string;
  /** While it is set, whoever takes alerts takes the connection and says nothing. */
  webhookHangs = false;
  /** Whole answers of the model that may have been lost with a process that was killed or stopped while they arrived. */
  answersAtRisk = 0;
  private answeredBefore = 0;

  private constructor(
    private readonly dataDir: string,
    private postgres: RunningPostgres,
    private temporalServer: RunningTemporal,
    readonly temporal: Client,
    readonly proxy: DatabaseProxy,
    readonly anthropic: AnthropicStandIn,
    readonly e2b: E2bStandIn,
    private readonly webhook: Server,
    private readonly appPassword: string,
    readonly apiKey: string,
    readonly options: InstallationOptions,
    parts: { apiPorts: number[]; bundle: string; olderBundle: string },
  ) {
    this.postgresDir = dataDir;
    const { broken, older } = options;
    this.processes = new Processes({
      ...{ broken, workers: workerCount, apiPorts: parts.apiPorts, bundle: parts.bundle },
      ...(older === undefined ? {} : { older: { folder: older, bundle: parts.olderBundle } }),
      environment: () => this.environment(),
      // APIs pass calls on, and make none of their own.
      apiEnvironment: () => ({ ANTHROPIC_BASE_URL: (this.doors?.provider ?? this.anthropic).url }),
      appliedFile: this.appliedFile,
      workerSuffers: () => this.riskAnswers(),
      logFile: this.logFile,
    });
    this.admin = adminPool(postgres.adminUrl);
  }

  static async start({ broken: asked, mandates, older, doors }: InstallationOptions): Promise<Installation> {
    const ours = [...(mandates ? [nearBehindProxy] : []), ...(doors ? [shortHoldByPostgres] : [])];
    const broken = { ...asked, sources: [...(asked.sources ?? []), ...ours] };
    const options = { broken, mandates, older, doors };
    await assertSources(broken);
    const dataDir = await mkdtemp(path.join(tmpdir(), 'spendlock-chaos-'));
    const bundle = path.join(dataDir, 'workflows.js');
    const olderBundle = path.join(dataDir, 'workflows-older.js');
    const log = (): void => undefined;
    const [postgres, temporalServer] = await Promise.all([
      startPostgres({ dataDir, preferredPort: 0, flags: postgresFlags, log }),
      startTemporal({ dbFile: path.join(dataDir, 'temporal.db'), preferredPort: 0, log }),
      bundleWorkflows(root, bundle),
      ...(older === undefined ? [] : [bundleWorkflows(older, olderBundle)]),
    ]);
    const appPassword = randomPassword();
    await migrate({ adminUrl: postgres.adminUrl, appPassword });
    const setUp = createPool(postgres.adminUrl, { max: 1 });
    if (broken.sql !== undefined) await setUp.query(broken.sql);
    await setUp.end();
    const pool = createPool(appUrlFor(postgres.adminUrl, appPassword), { max: 1 });
    const { key } = await createApiKey(pool, { label: 'chaos' });
    await pool.end();
    const anthropic = await startAnthropicStandIn();
    const webhook = createServer();
    await new Promise<void>((resolve) => webhook.listen({ port: 0, host: '127.0.0.1' }, resolve));
    const installation = new Installation(
      dataDir,
      postgres,
      temporalServer,
      new Client({ connection: Connection.lazy({ address: temporalServer.address }) }),
      await startDatabaseProxy(postgres.port),
      anthropic,
      await startE2bStandIn({ allowedCode: anthropic.emittedCode }),
      webhook,
      appPassword,
      key,
      options,
      {
        apiPorts: [await freePort(), ...(mandates || older !== undefined ? [await freePort()] : [])],
        bundle,
        olderBundle,
      },
    );
    installation.takeAlerts();
    installation.noteAnswers();
    if (doors) installation.doors = await installation.startDoors();
    if (older === undefined) installation.tools = await ToolServer.start();
    await installation.processes.start();
    return installation;
  }

  private startDoors(): Promise<Doors> {
    const { dataDir, temporal, appliedFile, options, processes } = this;
    const { address: temporalAddress } = this.temporalServer;
    return Doors.start({
      ...{ dataDir, temporal, temporalAddress, broken: options.broken, appliedFile, taskQueuePrefix: queuePrefix },
      apiUrl: () => processes.apiAt(0),
      databaseUrl: () => this.databaseUrl,
    });
  }

  /** Lets other people's agents in, once their tenant is there. */
  async openDoors(): Promise<void> {
    await this.doors?.open(appUrlFor(this.postgres.adminUrl, this.appPassword));
  }

  /** Where processes write what they log; nowhere where they were told what to show. */
  private get logFile(): string | undefined {
    return process.env.SPENDLOCK_CHAOS_LOG_LEVEL === undefined ? path.join(this.dataDir, 'log') : undefined;
  }

  /** What processes note of each source that they read in its broken form. */
  private get appliedFile(): string {
    return path.join(this.dataDir, 'broken');
  }

  /** @throws Error when a build that was to be broken is not. */
  async assertBroken(): Promise<void> {
    await assertApplied(this.options.broken, this.appliedFile);
  }

  get apiUrl(): string {
    return this.processes.apiUrl();
  }

  /** Remembers how many whole answers there were two seconds ago: those are written by now. */
  private noteAnswers(): void {
    const timer = setInterval(() => {
      const { answered } = this.anthropic.calls();
      setTimeout(() => (this.answeredBefore = answered), 2_000).unref();
    }, 200);
    timer.unref();
  }

  private takeAlerts(): void {
    takeAlerts(this.webhook, (alertId) => {
      if (this.webhookHangs) return false;
      this.alerts.set(alertId, [...(this.alerts.get(alertId) ?? []), Date.now()]);
      return true;
    });
  }

  /** As processes reach Postgres: by the proxy. */
  private get databaseUrl(): string {
    const url = new URL(appUrlFor(this.postgres.adminUrl, this.appPassword));
    url.port = String(this.proxy.port);
    return url.toString();
  }

  private environment(): Record<string, string | undefined> {
    const { port } = this.webhook.address() as AddressInfo;
    return {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      DATABASE_URL: this.databaseUrl,
      TEMPORAL_ADDRESS: this.temporalServer.address,
      SPENDLOCK_TASK_QUEUE_PREFIX: queuePrefix,
      ANTHROPIC_API_KEY: 'stand-in',
      ANTHROPIC_BASE_URL: this.anthropic.url,
      E2B_API_KEY: 'stand-in',
      E2B_API_URL: this.e2b.url,
      E2B_SANDBOX_URL: this.e2b.url,
      SPENDLOCK_CODE_LANGUAGES: 'javascript',
      SPENDLOCK_SHUTDOWN_SECONDS: '3',
      SPENDLOCK_ALERT_WEBHOOK_URL: `http://127.0.0.1:${port}/`,
      SPENDLOCK_ALERT_WEBHOOK_SECRET: webhookSecret,
      SPENDLOCK_MANDATES: this.options.mandates ? 'on' : 'off',
      SPENDLOCK_PROXY_HOLD_SECONDS: String(doorHoldSeconds),
      ...this.toolEnvironment,
      LOG_LEVEL: process.env.SPENDLOCK_CHAOS_LOG_LEVEL ?? 'info',
    };
  }

  /** Sends commands to an authority past the API, by default to the tenant's own. */
  async tell(tenantId: string, commands: BudgetCommand[], workflowId = budgetWorkflowId(tenantId)): Promise<void> {
    await this.temporal.workflow.signalWithStart('tenantBudget', {
      workflowId,
      taskQueue: taskQueues(queuePrefix).budget,
      args: [{ tenantId }],
      signal: budgetCommandsSignal,
      signalArgs: [commands],
    });
  }

  /** What is on its way from the model to a process that is killed now, or that stands still beyond its time. */
  private riskAnswers(): void {
    const { inFlight, answered } = this.anthropic.calls();
    // And what has just arrived and is not written yet.
    this.answersAtRisk += inFlight + answered - this.answeredBefore;
  }

  /** Kills the server without a word, and starts it on the same data and port. */
  async killTemporal(): Promise<void> {
    const port = Number(this.temporalServer.address.split(':')[1]);
    const exited = once(this.temporalServer.child, 'exit');
    this.temporalServer.child.kill('SIGKILL');
    await exited;
    const options = { dbFile: path.join(this.dataDir, 'temporal.db'), preferredPort: port, log: () => undefined };
    this.temporalServer = await insist(() => startTemporal(options));
  }

  async killPostgres(): Promise<void> {
    process.kill(this.postgres.pid, 'SIGKILL');
    // Its children notice and end by themselves; until then the data cannot be opened again.
    const { port } = this.postgres;
    await sleep(500);
    const options = { dataDir: this.postgresDir, preferredPort: port, flags: postgresFlags, log: () => undefined };
    this.postgres = await insist(() => startPostgres(options));
    if (this.postgres.port !== port) throw new Error('Postgres did not get its port back.');
  }

  /** A copy of Postgres takes over, without the last second of what the first had committed; the first never comes back. */
  async failOver(): Promise<void> {
    const { postgres, dataDir } = this;
    const standbyDir = await mkdtemp(path.join(tmpdir(), 'spendlock-chaos-'));
    const standby = await startStandby({
      primary: postgres,
      dataDir: this.postgresDir,
      standbyDir,
      flags: postgresFlags,
    });
    this.riskAnswers();
    const fromMs = Date.now();
    standby.cutOff();
    await sleep(1_000);
    // Fenced first: nobody reaches the first one any more, and then it is not there any more.
    if (!this.options.broken.isUnfenced) {
      this.proxy.set('refuse');
      process.kill(postgres.pid, 'SIGKILL');
    }
    this.postgres = await standby.promote();
    const before = this.admin;
    this.admin = adminPool(this.postgres.adminUrl);
    this.proxy.leadTo(this.postgres.port, { endOpen: !this.options.broken.isUnfenced });
    this.proxy.set('pass');
    this.riskAnswers();
    this.lost.push({ fromMs: Math.min(fromMs, await lastOf(this.admin)), toMs: Date.now() });
    if (this.options.broken.isUnfenced) await this.answerBeside(postgres);
    await before.end().catch(() => undefined);
    await rm(path.join(this.postgresDir, 'postgres'), { recursive: true, force: true });
    if (this.postgresDir !== dataDir) await rm(this.postgresDir, { recursive: true, force: true });
    this.postgresDir = standbyDir;
  }

  /** The first Postgres goes on answering whoever is connected to it, for some seconds, beside the one that took over. */
  private async answerBeside(first: RunningPostgres): Promise<void> {
    await sleep(15_000);
    process.kill(first.pid, 'SIGKILL');
  }

  /** Whether what was acknowledged then was lost with the Postgres that had kept it. */
  wasLost(atMs: number): boolean {
    return this.lostBetween(atMs, atMs);
  }

  /** Whether something of this time was. */
  lostBetween(firstMs: number, lastMs: number): boolean {
    return this.lost.some(({ fromMs, toMs }) => lastMs >= fromMs && firstMs <= toMs + onItsWayMs);
  }

  async stop(): Promise<void> {
    await Promise.all([this.processes.stop(), this.doors?.stop(), this.tools?.stop()]);
    this.webhook.close();
    this.webhook.closeAllConnections();
    await Promise.all([this.anthropic.stop(), this.e2b.stop(), this.proxy.close(), this.admin.end()]);
    await this.temporal.connection.close();
    await Promise.all([this.temporalServer.stop(), this.postgres.stop()]);
    for (const dir of new Set([this.postgresDir, this.dataDir])) await rm(dir, { recursive: true, force: true });
  }
}
