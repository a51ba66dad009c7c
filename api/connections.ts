/** What a process that answers callers has beside its server: its log and telemetry, and how it reaches Temporal and Postgres. */
import type { DataConverter } from '@temporalio/common';
import { Client, Connection } from '@temporalio/client';
import { omitUndefined } from '../core/omit-undefined';
import { createPool, type Pool } from '../store/pool';
import { createLog, type Logger } from '../telemetry/log';
import { startTelemetry } from '../telemetry/start';
import { signallingConnection, type TemporalServer } from '../temporal/connection';

interface Reached {
  LOG_LEVEL: string;
  DATABASE_URL: string;
  temporal: TemporalServer;
  dataConverter: DataConverter | undefined;
}

export interface Connections {
  log: Logger;
  temporal: Client;
  pool: Pool;
  /** To be called when the server is closed. */
  close: () => Promise<void>;
}

/** @param name of the process, in its log and, after `spendlock-`, in Postgres and telemetry */
export function connectionsOf(name: 'api' | 'proxy', config: Reached): Connections {
  const log = createLog({ name, level: config.LOG_LEVEL });
  const telemetry = startTelemetry(`spendlock-${name}`);
  // Lazy: it comes up, and says on /readyz what is missing, before Temporal does.
  const connection = Connection.lazy(signallingConnection(config.temporal.connection));
  const temporal = new Client({
    connection,
    namespace: config.temporal.namespace,
    ...omitUndefined({ dataConverter: config.dataConverter }),
    plugins: [telemetry.plugin],
  });
  // A statement that is late is a 503, and what the request did is rolled back.
  const pool = createPool(config.DATABASE_URL, { application_name: `spendlock-${name}` });
  const close = async (): Promise<void> => {
    await pool.end();
    await connection.close();
    await telemetry.shutdown();
  };
  return { log, temporal, pool, close };
}
