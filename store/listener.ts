/**
 * Listening to a channel of Postgres' NOTIFY, on a connection of its own that is made again whenever it is lost. A connection that
 * went silent looks like one on which nothing happens, so it is asked now and then.
 */
import { escapeIdentifier, type Client } from 'pg';
import { BoundedClient, boundedConfig, cutOff } from './connections';
import type { Pool } from './pool';

/** Pause before a listener that lost its connection connects again. */
const reconnectMs = 500;
/** How often a listener's connection is asked whether it is there, and how long it may take to answer. */
const askMs = 2_000;
const answerMs = 2_000;

export interface Listener {
  /** Resolves when notifications can come. */
  readonly listening: Promise<void>;
  /** Whether they can come now: what was notified while it was false is lost. */
  isListening(): boolean;
  stop(): Promise<void>;
}

/** Hands on what is notified on a channel. What was notified while nobody listened is lost: who waits also looks by itself. */
export function listenTo(
  pool: Pool,
  {
    channel,
    onPayload,
    onChange = () => undefined,
  }: {
    channel: string;
    onPayload: (payload: string) => void;
    /** It begins to listen, or its connection is lost. */
    onChange?: (isListening: boolean) => void;
  },
): Listener {
  let stopped = false;
  let client: Client | undefined;
  let wake: (() => void) | undefined;
  let isUp = false;
  let began: () => void;
  const listening = new Promise<void>((resolve) => (began = resolve));
  const change = (now: boolean): void => {
    if (isUp === now) return;
    isUp = now;
    onChange(now);
  };

  const listen = async (): Promise<void> => {
    const connection = new BoundedClient({
      ...boundedConfig({ statementMs: answerMs }),
      application_name: `spendlock-listener ${channel}`,
      connectionString: pool.options.connectionString,
    });
    client = connection;
    const ended = new Promise<void>((resolve) => {
      connection.on('error', () => resolve());
      connection.on('end', () => resolve());
    });
    connection.on('notification', ({ payload }) => onPayload(payload ?? ''));
    await connection.connect();
    await connection.query(`LISTEN ${escapeIdentifier(channel)}`);
    began();
    change(true);
    const asking = setInterval(() => connection.query('SELECT').catch(() => cutOff(connection)), askMs);
    await ended.finally(() => {
      clearInterval(asking);
      change(false);
    });
  };
  const loop = (async () => {
    while (!stopped) {
      await listen().catch(() => undefined);
      await client?.end().catch(() => undefined);
      if (stopped) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, reconnectMs).unref();
      });
    }
  })();
  return {
    listening,
    isListening: () => isUp,
    async stop() {
      stopped = true;
      wake?.();
      await client?.end().catch(() => undefined);
      await loop;
    },
  };
}
