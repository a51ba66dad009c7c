/**
 * A process of its own that runs Postgres and the Temporal dev server, and ends both when its parent goes, however the
 * parent goes. It has its own process group, so that Ctrl-C reaches the parent alone, which drains before it stops these.
 */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { LineWriter } from '../../telemetry/line-writer';
import { startPostgres, type RunningPostgres } from './postgres';
import { startTemporal, type RunningTemporal } from './temporal';
import { abandonSignal, supervisorStopMaxMs, type ServicesOptions, type SupervisorMessage } from './services';

/** Postgres gives its children 5 s before it kills them. */
const abandonMaxMs = 8_000;

/** The last resort, when something does not end or does not even get started: all that this process started, and itself. */
function endGroup(clean: () => void): void {
  try {
    clean();
  } finally {
    process.kill(-process.pid, 'SIGKILL');
  }
}

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? '{}') as Omit<ServicesOptions, 'onProgress'>;
  // What these write is their user's alone: Temporal's data and the logs hold what people asked and were answered.
  process.umask(0o077);
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
  const logFile = new LineWriter(path.join(options.dataDir, 'services.log'));
  const log = (service: string) => (line: string) => logFile.write(`${new Date().toISOString()} ${service} ${line}\n`);
  const tell = (message: SupervisorMessage): void => void (process.connected && process.send?.(message));

  const started: { postgres?: Promise<RunningPostgres>; temporal?: Promise<RunningTemporal> } = {};
  const clean = (): void => void (options.ephemeral && rmSync(options.dataDir, { recursive: true, force: true }));
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopping ??= (async () => {
      setTimeout(() => endGroup(clean), supervisorStopMaxMs);
      const ending = [started.temporal, started.postgres].map(async (service) => (await service)?.stop());
      await Promise.allSettled(ending);
      clean();
      process.exit(0);
    })());
  process.on('disconnect', () => void stop());
  process.on('message', () => void stop());
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void stop());
  process.on(abandonSignal, () => {
    setTimeout(() => endGroup(clean), abandonMaxMs);
    void started.temporal?.then(({ child }) => child.kill('SIGKILL')).catch(() => undefined);
    void started.postgres?.then(({ child }) => child.kill('SIGQUIT')).catch(() => undefined);
    void stop();
  });

  started.postgres = startPostgres({
    dataDir: options.dataDir,
    preferredPort: options.ports.postgres,
    ...(options.postgresFlags ? { flags: options.postgresFlags } : {}),
    log: log('postgres'),
  });
  started.temporal = startTemporal({
    ...(options.ephemeral ? {} : { dbFile: path.join(options.dataDir, 'temporal.db') }),
    preferredPort: options.ports.temporal,
    ...(options.temporalSettings ? { settings: options.temporalSettings } : {}),
    ...(options.ports.temporalUi === undefined ? {} : { preferredUiPort: options.ports.temporalUi }),
    log: (line) => {
      log('temporal')(line);
      if (line.startsWith('fetching')) tell({ type: 'progress', line });
    },
  });
  try {
    const [postgres, temporal] = await Promise.all([started.postgres, started.temporal]);
    tell({
      type: 'ready',
      services: {
        postgres: { adminUrl: postgres.adminUrl, pid: postgres.pid },
        temporal: {
          address: temporal.address,
          ...(temporal.uiUrl === undefined ? {} : { uiUrl: temporal.uiUrl }),
          pid: temporal.child.pid ?? 0,
        },
      },
    });
    for (const [name, child] of [
      ['The Temporal dev server', temporal.child],
      ['Postgres', postgres.child],
    ] as const) {
      const said = `${name} ended; see ${path.join(options.dataDir, 'services.log')}.`;
      child.once('exit', () => void (stopping || tell({ type: 'failed', message: said })));
    }
  } catch (error) {
    tell({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
    await stop();
  }
}

void main();
