/** A run's events as a stream that misses none: each has its number, and a client that comes back names the last it saw. */
import { setTimeout as sleep } from 'node:timers/promises';
import { readRunEvents, type Run, type RunFailure } from '../store/runs';
import type { ApiDependencies } from './context';
import { denialBody, denialEvents, sseEvent } from './denials';

/** How often Postgres is asked for new events, and how often a silent stream says that it lives. */
const pollMs = 200;
const aliveMs = 15_000;

export function streamRunEvents(
  { pool, closing }: ApiDependencies,
  run: Run,
  { afterSequence, clientGone }: { afterSequence: number; clientGone: AbortSignal },
): ReadableStream<Uint8Array> {
  const stopped = AbortSignal.any([clientGone, closing]);
  const encoder = new TextEncoder();
  return new ReadableStream({
    async start(controller) {
      const send = (text: string): void => controller.enqueue(encoder.encode(text));
      try {
        await follow(stopped, send);
      } catch (error) {
        // A client that left is no error, and a stream that broke is taken up again by its number.
        if (!stopped.aborted) send(`: the stream broke (${(error as Error).name}); come back with Last-Event-ID\n\n`);
      }
      try {
        controller.close();
      } catch {
        // The client closed it first.
      }
    },
  });

  async function follow(signal: AbortSignal, send: (text: string) => void): Promise<void> {
    let sequence = afterSequence;
    let saidAtMs = Date.now();
    send(': a run’s events\n\n');
    while (!signal.aborted) {
      const events = await readRunEvents(pool, { tenantId: run.tenantId, runId: run.runId, afterSequence: sequence });
      for (const event of events) {
        sequence = event.sequence;
        saidAtMs = Date.now();
        const data = { sequence, at: event.createdAt.toISOString(), ...event.data };
        send(sseEvent({ id: sequence, event: event.type, data }));
        if (event.type === 'run.ended') return send(endOf(event.data as { status: string; failure?: RunFailure }));
      }
      if (events.length === 0 && (await hasEnded())) return;
      if (Date.now() - saidAtMs > aliveMs) {
        saidAtMs = Date.now();
        send(': alive\n\n');
      }
      await sleep(pollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Whether a client came back after the last event. */
  async function hasEnded(): Promise<boolean> {
    const [last] = (
      await readRunEvents(pool, {
        tenantId: run.tenantId,
        runId: run.runId,
        afterSequence: afterSequence - 1,
        limit: 1,
      })
    ).slice(-1);
    return afterSequence > 0 && last?.type === 'run.ended' && last.sequence === afterSequence;
  }
}

/** How a stream ends; a run that was denied midway ends as C5 says. */
function endOf({ status, failure }: { status: string; failure?: RunFailure }): string {
  if (status !== 'quota_exceeded') return sseEvent({ event: 'done', data: { status } });
  return denialEvents(
    denialBody({
      message: failure?.message ?? 'The run was denied.',
      resource: failure?.resource ?? 'llm',
      quota: failure?.quota,
      retryAfterSeconds: failure?.retryAfterSeconds,
    }),
  );
}
