/**
 * Answers on their way to the processes that wait for them, by Postgres' NOTIFY. A notification can be lost (nobody
 * listened, or the answer was too long): who waits also looks into the record.
 */
import { Client } from 'pg';
import type { ReserveAnswer } from '../core/commands';
import type { Pool } from './pool';

/** Postgres takes fewer than 8,000 bytes. */
const payloadBytesMax = 7_900;

/** An answer, and which of those that wait on the channel it is for. */
export interface AddressedAnswer {
  waiter: number;
  answer: ReserveAnswer;
}

export const isAnswerChannel = (channel: string): boolean => /^spendlock_answers_[a-z0-9]{1,32}$/.test(channel);

/** Notifies each channel of its answers: a transaction of its own, since a NOTIFY holds a lock of the cluster until it commits. */
export async function notifyAnswers(
  pool: Pool,
  byChannel: ReadonlyMap<string, readonly AddressedAnswer[]>,
): Promise<void> {
  const notifications = [...byChannel]
    .filter(([channel]) => isAnswerChannel(channel))
    .flatMap(([channel, answers]) => payloadsOf(answers).map((payload) => ({ channel, payload })));
  if (notifications.length === 0) return;
  await pool.query('SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS n (channel, payload)', [
    notifications.map(({ channel }) => channel),
    notifications.map(({ payload }) => payload),
  ]);
}

/** JSON arrays of as many answers as one notification takes. */
function payloadsOf(answers: readonly AddressedAnswer[]): string[] {
  const payloads: string[] = [];
  let bytes = 2;
  let texts: string[] = [];
  for (const text of answers.map((answer) => JSON.stringify(answer))) {
    const size = Buffer.byteLength(text) + 1;
    if (size + 2 > payloadBytesMax) continue;
    if (bytes + size > payloadBytesMax) {
      payloads.push(`[${texts.join(',')}]`);
      bytes = 2;
      texts = [];
    }
    texts.push(text);
    bytes += size;
  }
  if (texts.length > 0) payloads.push(`[${texts.join(',')}]`);
  return payloads;
}

/** Pause before a listener that lost its connection connects again. */
const reconnectMs = 500;

export interface AnswerListener {
  /** Resolves when answers can come. */
  readonly listening: Promise<void>;
  stop(): Promise<void>;
}

/** Hands on the answers that are notified on a channel. Connects again whenever its connection is lost. */
export function listenForAnswers(
  pool: Pool,
  { channel, onAnswer }: { channel: string; onAnswer: (addressed: AddressedAnswer) => void },
): AnswerListener {
  if (!isAnswerChannel(channel)) throw new RangeError(`${channel} is no channel for answers.`);
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
    client?.on('notification', ({ payload }) => {
      for (const addressed of JSON.parse(payload ?? '[]') as AddressedAnswer[]) onAnswer(addressed);
    });
    await client?.connect();
    await client?.query(`LISTEN ${channel}`);
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
