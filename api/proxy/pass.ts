/**
 * Hands a stream on while it comes: each piece as soon as it is there, none changed, none kept. What its reader makes of it is read from
 * the side. A client that reads slowly slows its provider down; one that reads no more is gone. Some leave as soon as they have what they
 * wanted, a moment before their provider says what it bills: that moment is waited for.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { providerWaits } from './provider';
import { readFrom } from './readers';
import type { AnswerReader } from './wire';

/** How long nobody may read what is there. */
const unreadMs = 60_000;
/** How long a stream is read on that its client has left, for its end may be near. */
const leftMs = 1_000;

/** How a stream ended: as its provider ended it, broken off by it (or silent, or over its time), or left by its client. */
export type PassedEnd = 'ended' | 'cut' | 'left';

/** Resolves once nothing more comes. The answer to the client is begun, and not ended. */
export function passOn(
  answer: IncomingMessage,
  response: ServerResponse,
  { reader, idleMs }: { reader: AnswerReader; idleMs: number },
): Promise<PassedEnd> {
  answer.socket.setTimeout(idleMs);
  return new Promise((resolve) => {
    let unread: NodeJS.Timeout | undefined;
    let isLeft = false;
    const last = setTimeout(() => end('cut'), providerWaits.lastMs);
    const resume = (): void => {
      clearTimeout(unread);
      answer.socket.setTimeout(idleMs);
      answer.resume();
    };
    const left = (): void => {
      isLeft = true;
      resume();
      unread = setTimeout(() => end('left'), leftMs);
    };
    const end = (how: PassedEnd): void => {
      clearTimeout(last);
      clearTimeout(unread);
      response.off('drain', resume).off('close', left);
      answer.off('data', take);
      if (how !== 'ended') answer.destroy();
      resolve(isLeft ? 'left' : how);
    };
    const take = (part: Buffer): void => {
      readFrom(reader, part);
      if (isLeft || response.write(part)) return;
      answer.pause();
      // It is not its provider that is silent.
      answer.socket.setTimeout(0);
      unread = setTimeout(() => response.destroy(), unreadMs);
    };
    response.on('drain', resume).once('close', left);
    answer.on('data', take);
    answer.once('end', () => end('ended'));
    answer.once('error', () => end('cut'));
    answer.once('close', () => end(answer.complete ? 'ended' : 'cut'));
    if (response.destroyed) left();
  });
}
