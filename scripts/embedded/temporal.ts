/** A Temporal dev server on loopback, with the settings that an embedded installation needs. */
import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { runStatusAttribute, tenantIdAttribute } from '../../contracts/messages';
import { freePort } from './ports';
import { stopChild } from './stop-child';
import { findTemporalCli, serverVersionOf } from './temporal-binary';

export interface TemporalOptions {
  /** Where it keeps its data; in memory when absent. */
  dbFile?: string;
  preferredPort: number;
  /** Port of the Web UI; none when absent. */
  preferredUiPort?: number;
  /** More dynamic configuration. */
  settings?: Record<string, number | boolean>;
  log: (line: string) => void;
}

export interface RunningTemporal {
  address: string;
  uiUrl?: string;
  child: ChildProcess;
  stop(): Promise<void>;
}

/** The server's dynamic configuration. What a cluster needs of it too is in deploy/temporal-settings.yml. */
export const dynamicConfig = {
  // An idle shard's tasks are loaded 20 times a second by default, so each hop between two workflows waits up to 50 ms. A
  // cluster has many shards and does not show it; one machine sets this higher.
  'history.transferProcessorMaxPollRPS': 2000,
  'history.timerProcessorMaxPollRPS': 2000,
  // More than a hundred signals that wait for one workflow task make the server fail that task, unless this is higher.
  'history.maximumBufferedEventsBatch': 5000,
  'matching.numTaskqueueReadPartitions': 1,
  'matching.numTaskqueueWritePartitions': 1,
};

/**
 * Tasks that wait are shared out by their fairness keys, which are tenants. Servers from 1.32 on go through a backlog of before first
 * when this is set in a folder that has one; of older ones that was not tried, and one can come from the PATH.
 */
const fairSettings = { 'matching.enableFairness': true };
const fairFrom = { major: 1, minor: 32 };

/** The server looks for free ports of its own and takes them later: now and then another process is faster, and it ends. */
const startsMax = 3;

export async function startTemporal(options: TemporalOptions): Promise<RunningTemporal> {
  for (let start = 1; ; start += 1) {
    try {
      return await startOnce(options);
    } catch (error) {
      if (!(error instanceof EndedWhileStarting) || start >= startsMax) throw error;
      options.log(`the Temporal dev server ended while it started; starting it again (${start} of ${startsMax - 1})`);
    }
  }
}

class EndedWhileStarting extends Error {}

async function startOnce(options: TemporalOptions): Promise<RunningTemporal> {
  const { dbFile, preferredPort, preferredUiPort, settings = {}, log } = options;
  const cli = await findTemporalCli(log);
  const { major, minor } = await serverVersionOf(cli);
  const isFair = major > fairFrom.major || (major === fairFrom.major && minor >= fairFrom.minor);
  const port = await freePort(preferredPort);
  const uiPort = preferredUiPort === undefined ? undefined : await freePort(preferredUiPort);
  const child = spawn(
    cli,
    [
      ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port), '--log-level', 'error'],
      ...(uiPort === undefined ? ['--headless'] : ['--ui-port', String(uiPort), '--ui-ip', '127.0.0.1']),
      ...(dbFile === undefined ? [] : ['--db-filename', dbFile]),
      ...Object.entries({ ...dynamicConfig, ...(isFair ? fairSettings : {}), ...settings }).flatMap(([key, value]) => [
        '--dynamic-config-value',
        `${key}=${value}`,
      ]),
      ...[tenantIdAttribute, runStatusAttribute].flatMap(({ name }) => ['--search-attribute', `${name}=Keyword`]),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      said = (said + data.toString()).slice(-4_000);
      log(data.toString().trim());
    });
  }
  const address = `127.0.0.1:${port}`;
  await ready(address, child, () => said);
  return {
    address,
    ...(uiPort === undefined ? {} : { uiUrl: `http://127.0.0.1:${uiPort}` }),
    child,
    stop: () => stopChild(child, [{ signal: 'SIGTERM', forMs: 5_000 }]),
  };
}

async function ready(address: string, child: ChildProcess, said: () => string): Promise<void> {
  const deadlineMs = Date.now() + 30_000;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new EndedWhileStarting(`The Temporal dev server ended while it started. It said:\n${said()}`);
    }
    try {
      const connection = await Connection.connect({ address, connectTimeout: '1 second' });
      await connection.workflowService.describeNamespace({ namespace: 'default' });
      await connection.close();
      return;
    } catch (error) {
      if (Date.now() > deadlineMs)
        throw new Error(`The Temporal dev server did not answer within 30 s: ${String(error)}`);
      await sleep(100);
    }
  }
}
