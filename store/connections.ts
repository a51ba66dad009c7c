/**
 * Connections to Postgres, each of whose waits has an end. A network can lose its way without saying so: what was sent is then
 * never answered, and no end of the connection is told. So the client counts the time of each statement itself, a little longer
 * than Postgres, which counts too; and Postgres ends a transaction that hears nothing more from its client.
 */
import type { Duplex } from 'node:stream';
import { Client, escapeLiteral, type ClientConfig } from 'pg';

/** How long each wait may last. docs/reliability.md has the table. */
export const databaseLimits = {
  /** Until a connection is made, or one of a pool is free. */
  connectMs: 5_000,
  /** One statement, waiting for locks included. */
  statementMs: 5_000,
  /** One that adds up what a tenant has, or that begins a run, which somebody would have to begin anew. */
  patientMs: 15_000,
  /** One that clears away what is kept no longer, or copies a database. */
  longStatementMs: 60_000,
  /** How much later than Postgres the client gives a statement up. */
  graceMs: 1_000,
  /** A transaction between two statements. */
  idleInTransactionMs: 10_000,
  /** The same for a decision, whose tenant's others wait meanwhile. */
  standingMs: 1_200,
  /** ROLLBACK after a failure. */
  rollbackMs: 1_000,
  /** The end of a connection that is told to the other side. */
  endMs: 1_000,
  /** Silence before the kernel asks whether the other end is there. */
  keepAliveMs: 10_000,
} as const;

/** What a connection may be given more time for than others have. */
export interface ConnectionLimits {
  statementMs?: number;
  idleInTransactionMs?: number;
}

/** What the driver has and its types leave out. */
interface Inside {
  connection: {
    stream: Duplex;
    on(event: 'parameterStatus', told: (status: { parameterName: string; parameterValue: string }) => void): void;
  };
  connectionParameters: { query_timeout?: number };
}

/** Lets a connection go without waiting for the other side: what waits for it is refused at once. */
export const cutOff = (client: object): unknown => (client as Inside).connection.stream.destroy();

/** From now on the client gives each statement of this connection up after so long. */
export function giveStatements(client: object, statementMs: number): void {
  (client as Inside).connectionParameters.query_timeout = statementMs + databaseLimits.graceMs;
}

/**
 * A connection that ends within a bound, whether or not the other side takes part, and whose beginning ends with it: the driver
 * tells nobody who waits for a connection that was ended before it was there.
 */
export class BoundedClient extends Client {
  /** Postgres' major version, which it tells while the connection is made. */
  postgresVersion = 0;

  constructor(config?: string | ClientConfig) {
    super(config);
    (this as unknown as Inside).connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
      if (parameterName === 'server_version') this.postgresVersion = Number.parseInt(parameterValue, 10);
    });
  }

  /** What is asked at once is written at once: a transaction's beginning with its first call, and its last one with COMMIT. */
  override query = ((...query: Parameters<Client['query']>) => {
    const { stream } = (this as unknown as Inside).connection;
    stream.cork();
    process.nextTick(() => stream.uncork());
    return super.query(...query);
  }) as Client['query'];

  override connect(): Promise<this>;
  override connect(callback: (error: Error) => void): void;
  override connect(callback?: (error: Error) => void): Promise<this> | void {
    if (callback) return super.connect(callback);
    return new Promise<this>((resolve, reject) => {
      const ended = (): void => reject(new Error('Connection terminated before it was made'));
      this.once('end', ended);
      super
        .connect()
        .then(() => resolve(this), reject)
        .finally(() => this.off('end', ended));
    });
  }

  override end(): Promise<void>;
  override end(callback: (error: Error) => void): void;
  override end(callback?: (error: Error) => void): Promise<void> | void {
    const timer = setTimeout(() => cutOff(this), databaseLimits.endMs);
    this.once('end', () => clearTimeout(timer));
    timer.unref();
    return callback ? super.end(callback) : super.end();
  }
}

/** The driver's options that every connection has. */
export const boundedConfig = ({ statementMs = databaseLimits.statementMs }: ConnectionLimits = {}): ClientConfig => ({
  connectionTimeoutMillis: databaseLimits.connectMs,
  query_timeout: statementMs + databaseLimits.graceMs,
  keepAlive: true,
  keepAliveInitialDelayMillis: databaseLimits.keepAliveMs,
});

/**
 * What Postgres is told of a connection when it begins. Its own keepalive ends the transaction of a client whose host is gone even
 * while an answer is being written to it, when no other timeout holds.
 */
export const sessionSettings = ({
  statementMs = databaseLimits.statementMs,
  idleInTransactionMs = databaseLimits.idleInTransactionMs,
}: ConnectionLimits = {}): string =>
  settingsOf({
    statement_timeout: statementMs,
    idle_in_transaction_session_timeout: idleInTransactionMs,
    tcp_keepalives_idle: databaseLimits.keepAliveMs / 1_000,
    tcp_keepalives_interval: 5,
    tcp_keepalives_count: 3,
    tcp_user_timeout: 30_000,
  });

/** Since which version of Postgres a setting is known, where some version that is in use does not know it. */
const knownSince: Record<string, number> = { transaction_timeout: 17 };

/** SQL that sets what this version of Postgres knows, for the connection. */
const settingsOf = (settings: Record<string, string | number>): string =>
  Object.entries(settings)
    .map(([setting, value]) => {
      const name = escapeLiteral(setting);
      return `SELECT set_config(${name}, ${escapeLiteral(String(value))}, false) WHERE current_setting(${name}, true) IS NOT NULL`;
    })
    .join('; ');

/**
 * SQL that begins a transaction with settings of its own, of which those are left out that its Postgres does not know. Each is a
 * command, which is only read: a SELECT is planned as well, and answered with a row.
 */
export function beginWith(client: object, settings: Record<string, string | number>): string {
  const { postgresVersion = 0 } = client as Partial<BoundedClient>;
  const set = Object.entries(settings)
    .filter(([setting]) => postgresVersion >= (knownSince[setting] ?? 0))
    .map(([setting, value]) => `SET LOCAL ${setting} = ${escapeLiteral(String(value))}`);
  return ['BEGIN', ...set].join('; ');
}

/** A connection of one's own, outside any pool. The caller ends it. */
export async function connectTo(config: ClientConfig, limits: ConnectionLimits = {}): Promise<Client> {
  const client = new BoundedClient({ ...boundedConfig(limits), ...config });
  // One that breaks rejects the query that needs it.
  client.on('error', () => undefined);
  await client.connect();
  // Without a pipeline a statement that is late leaves the connection waiting for it: it is of no use any more.
  try {
    await client.query(sessionSettings(limits));
  } catch (error) {
    cutOff(client);
    throw error;
  }
  return client;
}
