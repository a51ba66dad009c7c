/** Everything that `npm start` starts, and how it is stopped: workers drain first, the services that they need end last. */
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { startApi, type RunningApi } from '../../api/server';
import { defaultModel } from '../../api/config';
import { signallingConnection } from '../../temporal/connection';
import { deciderFrom } from '../../store/decider';
import { createPool, type Pool } from '../../store/pool';
import { readPrices } from '../../store/prices';
import { createTenant } from '../../store/tenants';
import { modelAccountsIn } from '../../temporal/model-accounts';
import { dataConverterFrom } from '../../temporal/encryption/data-converter';
import { createLog } from '../../telemetry/log';
import { startTelemetry } from '../../telemetry/start';
import { defaultTaskQueuePrefix } from '../../contracts/messages';
import { freePort } from '../embedded/ports';
import { toolSettingsFrom } from '../../tools/settings';
import { secretIn } from '../embedded/secret-file';
import { startServices, supervisorStopMaxMs, type Services } from '../embedded/services';
import { appUrlFor, migrate, randomPassword } from '../migrate';
import { tellOfStart } from '../../cli/running-starts';
import { removeBudgetTenants, settledWithinMs } from './budget-tenant';
import { makeStartKey, revokeStartKey } from './key';
import type { StartOptions } from './options';
import type { Progress } from './progress';
import { keepPorts, keptPorts, movedPorts, type Ports } from './ports';
import { otherModels, realKeys } from './real-services';
import { startStandIns, type StandIns } from './stand-ins';
import { endingWith, Stops } from './stops';
import { toolEnvironment } from './tool-environment';
import { startWorker, stopWorker, workerStopMaxMs } from './worker';

/** The tenant of runs without `--budget`. */
export const demoTenantId = 'demo';

export interface Stack {
  apiUrl: string;
  uiUrl: string;
  temporalAddress: string;
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

export interface StartSignals {
  /** Ends what is under way, and then stops. */
  signal: AbortSignal;
  /** Does not wait for anything any more. */
  atOnce: AbortSignal;
}

/** Starts everything. What had started is stopped again when something does not. */
export async function startStack(options: StartOptions, progress: Progress, signals: StartSignals): Promise<Stack> {
  const stops = new Stops();
  try {
    return await endingWith(signals.signal, start(options, progress, { stops, ...signals }), stoppedWhileStarting);
  } catch (error) {
    await stops.run(progress);
    // What was ended says that it ended.
    throw signals.signal.aborted ? new Error(stoppedWhileStarting) : error;
  }
}

/** Requests that are under way are given 10 s of it. */
const apiStopMaxMs = 15_000;

async function start(
  options: StartOptions,
  progress: Progress,
  { stops, signal, atOnce }: StartSignals & { stops: Stops },
): Promise<Stack> {
  const { dataDir } = options;
  const decider = deciderFrom(process.env);
  const ports = await keptPorts(dataDir);
  const services = await progress.step('Temporal and Postgres', () =>
    startServices({
      dataDir,
      ports,
      onProgress: (line) => progress.line(line),
    }),
  );
  stops.add('Temporal and Postgres', () => services.stop(), supervisorStopMaxMs + 10_000);
  atOnce.addEventListener('abort', () => services.abandon());
  throwIfAborted(signal);
  const databaseUrl = await progress.step('migrations', () => prepareDatabase(services, dataDir));
  const pool = createPool(databaseUrl);
  stops.add('A query', () => pool.end());

  const standIns = await startStandIns(options);
  const forTools = await toolEnvironment(dataDir, process.env);
  stops.add('A stand-in', () => standIns.stop());
  const log = createLog({ name: 'start', level: 'warn', destination: path.join(dataDir, 'spendlock.log') });
  const telemetry = startTelemetry('spendlock-api');
  const connection = await Connection.connect(signallingConnection({ address: services.temporal.address }));
  stops.add('A call of Temporal', () => connection.close());
  // The worker reads the same keys.
  const dataConverter = dataConverterFrom(process.env);
  const temporal = new Client({ connection, plugins: [telemetry.plugin], ...(dataConverter ? { dataConverter } : {}) });
  const model = options.model ?? defaultModel;
  throwIfAborted(signal);

  const worker = await progress.step('worker', () =>
    startWorker({
      temporalAddress: services.temporal.address,
      databaseUrl,
      dataDir,
      environment: { ...standIns.environment, ...forTools },
      signal,
    }),
  );
  stops.add('The worker', () => stopWorker(worker), workerStopMaxMs);
  atOnce.addEventListener('abort', () => worker.kill('SIGKILL'));
  throwIfAborted(signal);
  const api = await progress.step('API', async () =>
    startApi({
      host: '127.0.0.1',
      port: await freePort(ports.api),
      pool,
      temporal,
      log,
      taskQueuePrefix: defaultTaskQueuePrefix,
      defaultModel: model,
      prices: () => readPrices(pool),
      tools: toolSettingsFrom(forTools),
      links: workflowLink(services),
      enforced: decider.enforced,
      mandates: decider.decides,
      proxy: { accounts: modelAccountsIn({ ...process.env, ...standIns.environment }) },
    }),
  );
  stops.add('The API', () => api.close(), apiStopMaxMs);
  const taken = portsOf(services, api);
  progress.lines(movedPorts(ports, taken));
  await keepPorts(dataDir, taken);
  await createTenant(pool, { tenantId: demoTenantId, name: 'The tenant of npm start' });
  const { key, apiKeyId } = await makeStartKey(pool);
  stops.add('Revoking the key', () => revokeStartKey(databaseUrl, apiKeyId));
  const forget = await tellOfStart(dataDir, {
    apiUrl: api.url,
    apiKey: key,
    databaseUrl,
    temporalAddress: services.temporal.address,
    temporalNamespace: 'default',
    taskQueuePrefix: defaultTaskQueuePrefix,
    isEncrypted: dataConverter !== undefined,
    mandates: decider.decides,
  });
  stops.add('The file for the command line', forget);
  const removeTenants = (busyMaxMs: number): Promise<void> =>
    removeBudgetTenants({ apiUrl: api.url, apiKey: key, pool }, { busyMaxMs });
  await removeTenants(0);
  throwIfAborted(signal);
  if (options.budgetUsd !== undefined) stops.add('The tenant of --budget', () => removeTenants(settledWithinMs), 8_000);
  const stop = (): Promise<void> => stops.run(progress);
  return stackOf({ services, api, key, pool, standIns, worker, model, dataDir, stop });
}

const portsOf = ({ postgres, temporal }: Services, api: RunningApi): Ports => ({
  postgres: Number(new URL(postgres.adminUrl).port),
  temporal: Number(temporal.address.split(':')[1]),
  temporalUi: Number(new URL(temporal.uiUrl ?? '').port),
  api: api.port,
});

/** Where Temporal UI shows a workflow. */
const workflowLink = ({ temporal: { uiUrl } }: Services): { workflow?: string } =>
  uiUrl === undefined ? {} : { workflow: `${uiUrl}/namespaces/default/workflows/{workflowId}` };

const stoppedWhileStarting = 'Stopped while starting.';

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Error(stoppedWhileStarting);
}

/** Migrates, and answers how the application connects. Its password is made once and kept beside the data. */
async function prepareDatabase({ postgres }: Services, dataDir: string): Promise<string> {
  const appPassword = await secretIn(path.join(dataDir, 'app-password'), randomPassword);
  await migrate({ adminUrl: postgres.adminUrl, appPassword });
  return appUrlFor(postgres.adminUrl, appPassword);
}

interface Parts {
  services: Services;
  api: RunningApi;
  key: string;
  pool: Pool;
  standIns: StandIns;
  worker: ChildProcess;
  model: string;
  dataDir: string;
  stop: () => Promise<void>;
}

function stackOf({ services, api, key, pool, standIns, worker, model, dataDir, stop }: Parts): Stack {
  const isStandIn = { anthropic: standIns.anthropic !== undefined, e2b: standIns.e2b !== undefined };
  return {
    apiUrl: api.url,
    uiUrl: services.temporal.uiUrl ?? '',
    temporalAddress: services.temporal.address,
    apiKey: key,
    pool,
    standIns: isStandIn,
    model,
    notices: [
      isStandIn.anthropic
        ? 'Model: STAND-IN. Its answers are scripted; set ANTHROPIC_API_KEY to call the real one. Its prices are the real ones, its money is not.'
        : `Model: ${model}, the real one. It costs real money.`,
      ...otherModels(realKeys(process.env)),
      isStandIn.e2b
        ? 'Sandbox: STAND-IN. A child process of this machine that runs JavaScript; set E2B_API_KEY to use real sandboxes.'
        : 'Sandbox: E2B, the real one. It costs real money.',
    ],
    untilStopped: (signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) resolve();
        signal.addEventListener('abort', () => resolve(), { once: true });
        services.onFailure((message) => reject(new Error(message)));
        worker.once('exit', (code, by) => {
          if (signal.aborted) return;
          reject(
            new Error(
              `The worker ended (${by ?? `status ${code}`}), so all was stopped. See ${path.join(dataDir, 'spendlock.log')}, and start again.`,
            ),
          );
        });
      }),
    stop,
  };
}
