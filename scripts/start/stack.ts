/** Everything that `npm start` starts, and how it is stopped: workers drain first, the services that they need end last. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { startApi, type RunningApi } from '../../api/server';
import { defaultModel } from '../../api/config';
import { createApiKey } from '../../store/api-keys';
import { signallingConnection } from '../../authority/connection';
import { createPool, type Pool } from '../../store/pool';
import { readPrices } from '../../store/prices';
import { createTenant } from '../../store/tenants';
import { dataConverterFrom } from '../../encryption/data-converter';
import { createLog } from '../../telemetry/log';
import { startTelemetry } from '../../telemetry/start';
import { defaultTaskQueuePrefix } from '../../workflows/messages';
import { freePort } from '../embedded/ports';
import { startServices, type Services } from '../embedded/services';
import { localEnvironment } from '../embedded/local-environment';
import { appUrlFor, migrate, randomPassword } from '../migrate';
import {
  startAnthropicStandIn,
  startE2bStandIn,
  startGoogleStandIn,
  startOpenAiStandIn,
  type AnthropicStandIn,
  type E2bStandIn,
} from '../stand-ins';
import { localInstallationFile, type LocalInstallation } from '../cli/target';
import type { StartOptions } from './options';
import type { Progress } from './progress';

/** The tenant of runs without `--budget`. */
export const demoTenantId = 'demo';

export interface Stack {
  apiUrl: string;
  uiUrl: string;
  /** The administration key of this start, shown once. */
  apiKey: string;
  pool: Pool;
  standIns: { anthropic: boolean; e2b: boolean };
  /** What a person should know before the run. */
  notices: string[];
  model: string;
  /** Resolves when it is interrupted or a part of it fails. */
  untilStopped(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}

/** Starts everything. What had started is stopped again when something does not. */
export async function startStack(options: StartOptions, progress: Progress, signal: AbortSignal): Promise<Stack> {
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.splice(0).reverse()) await one().catch(() => undefined);
  };
  try {
    return await start(options, progress, { stops, stop, signal });
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Starting {
  stops: (() => Promise<unknown>)[];
  stop: () => Promise<void>;
  signal: AbortSignal;
}

async function start(options: StartOptions, progress: Progress, { stops, stop, signal }: Starting): Promise<Stack> {
  const { dataDir } = options;
  await mkdir(dataDir, { recursive: true });
  const services = await progress.step('Temporal and Postgres', () =>
    startServices({
      dataDir,
      ports: { postgres: 54329, temporal: 7233, temporalUi: 8233 },
      onProgress: (line) => progress.line(line),
    }),
  );
  stops.push(() => services.stop());
  throwIfAborted(signal);
  const databaseUrl = await progress.step('migrations', () => prepareDatabase(services, dataDir));
  const pool = createPool(databaseUrl);
  stops.push(() => pool.end());

  const standIns = await startStandIns(options);
  stops.push(() => standIns.stop());
  const log = createLog({ name: 'start', level: 'warn', destination: path.join(dataDir, 'spendlock.log') });
  const telemetry = startTelemetry('spendlock-api');
  const connection = await Connection.connect(signallingConnection({ address: services.temporal.address }));
  stops.push(() => connection.close());
  // The worker reads the same keys.
  const dataConverter = dataConverterFrom(process.env);
  const temporal = new Client({ connection, plugins: [telemetry.plugin], ...(dataConverter ? { dataConverter } : {}) });
  const model = options.model ?? defaultModel;
  throwIfAborted(signal);

  const worker = await progress.step('worker', () =>
    startWorker({ services, databaseUrl, dataDir, environment: standIns.environment }),
  );
  stops.push(() => stopWorker(worker));
  const api = await progress.step('API', async () =>
    startApi({
      host: '127.0.0.1',
      port: await freePort(8088),
      pool,
      temporal,
      log,
      taskQueuePrefix: defaultTaskQueuePrefix,
      defaultModel: model,
      prices: () => readPrices(pool),
      links: workflowLink(services),
      enforced: {
        llm: process.env.ENFORCE_COST_QUOTAS !== 'false',
        e2b: process.env.ENFORCE_E2B_QUOTAS !== 'false',
      },
    }),
  );
  stops.push(() => api.close());
  await createTenant(pool, { tenantId: demoTenantId, name: 'The tenant of npm start' });
  const { key } = await createApiKey(pool, { label: 'npm start' });
  // For the command line of this checkout, as long as this runs.
  const addressFile = localInstallationFile(dataDir);
  const local: LocalInstallation = {
    apiUrl: api.url,
    apiKey: key,
    databaseUrl,
    temporalAddress: services.temporal.address,
  };
  await writeFile(addressFile, JSON.stringify(local), { mode: 0o600 });
  stops.push(() => rm(addressFile, { force: true }));
  return stackOf({ services, api, key, pool, standIns, worker, model, stop });
}

/** Where Temporal UI shows a workflow. */
const workflowLink = ({ temporal: { uiUrl } }: Services): { workflow?: string } =>
  uiUrl === undefined ? {} : { workflow: `${uiUrl}/namespaces/default/workflows/{workflowId}` };

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Error('Stopped while starting.');
}

/** Migrates, and answers how the application connects. Its password is made once and kept beside the data. */
async function prepareDatabase({ postgres }: Services, dataDir: string): Promise<string> {
  const file = path.join(dataDir, 'app-password');
  await writeFile(file, randomPassword(), { mode: 0o600, flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const appPassword = await readFile(file, 'utf8');
  await migrate({ adminUrl: postgres.adminUrl, appPassword });
  return appUrlFor(postgres.adminUrl, appPassword);
}

interface StandIns {
  anthropic?: AnthropicStandIn;
  e2b?: E2bStandIn;
  /** What the worker reads. */
  environment: Record<string, string>;
  stop(): Promise<void>;
}

/** A stand-in for each service whose key is not set. */
async function startStandIns({ allowLocalCode }: StartOptions): Promise<StandIns> {
  const environment: Record<string, string> = {};
  const emittedCode = new Set<string>();
  const anthropic = process.env.ANTHROPIC_API_KEY ? undefined : await startAnthropicStandIn({ emittedCode });
  if (anthropic) Object.assign(environment, { ANTHROPIC_API_KEY: 'stand-in', ANTHROPIC_BASE_URL: anthropic.url });
  const openai = process.env.OPENAI_API_KEY ? undefined : await startOpenAiStandIn({ emittedCode });
  if (openai) Object.assign(environment, { OPENAI_API_KEY: 'stand-in', OPENAI_BASE_URL: openai.url });
  const google = process.env.GEMINI_API_KEY ? undefined : await startGoogleStandIn({ emittedCode });
  if (google) Object.assign(environment, { GEMINI_API_KEY: 'stand-in', GEMINI_BASE_URL: google.url });
  let e2b: E2bStandIn | undefined;
  if (!process.env.E2B_API_KEY) {
    e2b = await startE2bStandIn({ allowedCode: allowLocalCode ? 'any' : emittedCode });
    Object.assign(environment, {
      E2B_API_KEY: 'stand-in',
      E2B_API_URL: e2b.url,
      E2B_SANDBOX_URL: e2b.url,
      SPENDLOCK_CODE_LANGUAGES: 'javascript',
    });
  } else if (anthropic) {
    environment.SPENDLOCK_CODE_LANGUAGES = 'javascript';
  }
  return {
    ...(anthropic ? { anthropic } : {}),
    ...(e2b ? { e2b } : {}),
    environment,
    stop: async () => void (await Promise.all([anthropic?.stop(), openai?.stop(), google?.stop(), e2b?.stop()])),
  };
}

/** The worker is a process of its own, as it is in production; it ends when this one does. */
async function startWorker({
  services,
  databaseUrl,
  dataDir,
  environment,
}: {
  services: Services;
  databaseUrl: string;
  dataDir: string;
  environment: Record<string, string>;
}): Promise<ChildProcess> {
  const child = fork(path.join(__dirname, '..', '..', 'workers', 'main.ts'), [], {
    execArgv: ['--import', 'tsx'],
    // Ctrl-C is for this process, which then stops the worker in its turn.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: {
      ...localEnvironment(process.env),
      ...environment,
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: services.temporal.address,
      TEMPORAL_NAMESPACE: 'default',
      SPENDLOCK_TASK_QUEUE_PREFIX: defaultTaskQueuePrefix,
      SPENDLOCK_SHUTDOWN_SECONDS: '10',
    },
  });
  let said = '';
  const { createWriteStream } = await import('node:fs');
  const logFile = createWriteStream(path.join(dataDir, 'spendlock.log'), { flags: 'a' });
  child.stderr?.on('data', (data: Buffer) => {
    said = (said + data.toString()).slice(-2_000);
    logFile.write(data);
  });
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('exit', (code) =>
      reject(new Error(`The worker ended while it started (status ${code ?? 'none'}):\n${said}`)),
    );
  });
  child.removeAllListeners('exit');
  return child;
}

async function stopWorker(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return;
  const exited = once(worker, 'exit');
  worker.kill('SIGTERM');
  const killer = setTimeout(() => worker.kill('SIGKILL'), 15_000);
  await exited;
  clearTimeout(killer);
}

interface Parts {
  services: Services;
  api: RunningApi;
  key: string;
  pool: Pool;
  standIns: StandIns;
  worker: ChildProcess;
  model: string;
  stop: () => Promise<void>;
}

function stackOf({ services, api, key, pool, standIns, worker, model, stop }: Parts): Stack {
  const isStandIn = { anthropic: standIns.anthropic !== undefined, e2b: standIns.e2b !== undefined };
  return {
    apiUrl: api.url,
    uiUrl: services.temporal.uiUrl ?? '',
    apiKey: key,
    pool,
    standIns: isStandIn,
    model,
    notices: [
      isStandIn.anthropic
        ? 'Model: STAND-IN. Its answers are scripted; set ANTHROPIC_API_KEY to call the real one. Its prices are the real ones, its money is not.'
        : `Model: ${model}, the real one. It costs real money.`,
      'Models of OpenAI and Google: stand-ins too, unless OPENAI_API_KEY or GEMINI_API_KEY is set.',
      isStandIn.e2b
        ? 'Sandbox: STAND-IN. A child process of this machine that runs JavaScript; set E2B_API_KEY to use real sandboxes.'
        : 'Sandbox: E2B, the real one. It costs real money.',
    ],
    untilStopped: (signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) resolve();
        signal.addEventListener('abort', () => resolve(), { once: true });
        services.onFailure((message) => reject(new Error(message)));
        worker.once('exit', (code) => {
          if (!signal.aborted) reject(new Error(`The worker ended (status ${code ?? 'none'}).`));
        });
      }),
    stop,
  };
}
