/**
 * Answers on their way to the processes that wait for them, by Postgres' NOTIFY. A notification can be lost (nobody
 * listened, or the answer was too long): who waits also looks into the record.
 */
import type { ReserveAnswer } from '../core/budget/commands';
import { listenTo, type Listener } from './listener';
import type { Pool } from './pool';

/** Postgres takes fewer than 8,000 bytes; some of them name the tenant. */
const answersBytesMax = 7_700;

/** An answer, and which of those that wait on the channel it is for. */
export interface AddressedAnswer {
  waiter: number;
  answer: ReserveAnswer;
}

/** One notification: answers of one tenant's authority, and whether it continues as new now, so that signals should wait. */
export interface AnswerNotice {
  tenantId: string;
  continuing: boolean;
  answers: AddressedAnswer[];
}

const isAnswerChannel = (channel: string): boolean => /^spendlock_answers_[a-z0-9]{1,32}$/.test(channel);

/** Notifies each channel of its answers: a transaction of its own, since a NOTIFY holds a lock of the cluster until it commits. */
export async function notifyAnswers(
  pool: Pool,
  {
    tenantId,
    continuing,
    byChannel,
  }: { tenantId: string; continuing: boolean; byChannel: ReadonlyMap<string, readonly AddressedAnswer[]> },
): Promise<void> {
  const notifications = [...byChannel]
    .filter(([channel]) => isAnswerChannel(channel))
    .flatMap(([channel, answers]) =>
      packed(answers).map((texts) => ({
        channel,
        payload: `{"tenantId":${JSON.stringify(tenantId)},"continuing":${continuing},"answers":[${texts.join(',')}]}`,
      })),
    );
  if (notifications.length === 0) return;
  await pool.query('SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS n (channel, payload)', [
    notifications.map(({ channel }) => channel),
    notifications.map(({ payload }) => payload),
  ]);
}

/** The answers as JSON, in parts that each fit one notification. One that fits none is left to whoever looks it up. */
function packed(answers: readonly AddressedAnswer[]): string[][] {
  const parts: string[][] = [];
  let part: string[] = [];
  let bytes = 0;
  for (const text of answers.map((answer) => JSON.stringify(answer))) {
    const size = Buffer.byteLength(text) + 1;
    if (size > answersBytesMax) continue;
    if (bytes + size > answersBytesMax) {
      parts.push(part);
      part = [];
      bytes = 0;
    }
    part.push(text);
    bytes += size;
  }
  return part.length > 0 ? [...parts, part] : parts;
}

/** Hands on the answers that are notified on a channel. */
export function listenForAnswers(
  pool: Pool,
  { channel, onNotice }: { channel: string; onNotice: (notice: AnswerNotice) => void },
): Listener {
  if (!isAnswerChannel(channel)) throw new RangeError(`${channel} is no channel for answers.`);
  return listenTo(pool, { channel, onPayload: (payload) => onNotice(JSON.parse(payload) as AnswerNotice) });
}
