/** Listening to a channel of Postgres' NOTIFY, on a connection of its own that is made again whenever it is lost. */
import { Client, escapeIdentifier } from 'pg';
import type { Pool } from './pool';

/** Pause before a listener that lost its connection connects again. */
const reconnectMs = 500;

export interface Listener {
  /** Resolves when notifications can come. */
  readonly listening: Promise<void>;
  stop(): Promise<void>;
}

/** Hands on what is notified on a channel. What was notified while nobody listened is lost: who waits also looks by itself. */
export function listenTo(
  pool: Pool,
  { channel, onPayload }: { channel: string; onPayload: (payload: string) => void },
): Listener {
  let stopped = false;
  let client: Client | undefined;
  let wake: (() => void) | undefined;
  let isListening: () => void;
  const listening = new Promise<void>((resolve) => (isListening = resolve));

  const listen = async (): Promise<void> => {
    const ended = new Promise<void>((resolve) => {
      client = new Client({ connectionString: pool.options.connectionString, keepAlive: true });
      client.on('error', () => resolve());
      client.on('end', () => resolve());
    });
    client?.on('notification', ({ payload }) => onPayload(payload ?? ''));
    await client?.connect();
    await client?.query(`LISTEN ${escapeIdentifier(channel)}`);
    isListening();
    await ended;
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
    async stop() {
      stopped = true;
      wake?.();
      await client?.end().catch(() => undefined);
      await loop;
    },
  };
}
