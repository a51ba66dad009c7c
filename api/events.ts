/**
 * What happens in a run or a conversation, as a stream that misses nothing: each event has its number, and a client that
 * comes back names the last it saw. A reply comes piece by piece while it is written (`delta`, without a number), and whole in
 * `model.replied`.
 */
import { readDeltas } from '../store/reply-deltas';
import { findRunEvent, readRunEvents, type Run, type RunEvent, type RunFailure } from '../store/runs';
import type { ApiDependencies } from './context';
import { denialBody, denialEvents, sseEvent } from './denials';

/** How often Postgres is asked without being told that something is new, and how often a silent stream says that it lives. */
const pollMs = 500;
const aliveMs = 15_000;

export interface StreamOrder {
  afterSequence: number;
  clientGone: AbortSignal;
  /** Only this turn of a conversation, and only to its end. */
  turnId?: string;
}

export function streamRunEvents(
  { pool, closing, watchers }: ApiDependencies,
  run: Run,
  order: StreamOrder,
): ReadableStream<Uint8Array> {
  const stopped = AbortSignal.any([order.clientGone, closing]);
  const encoder = new TextEncoder();
  const watch = watchers.watch(run.runId);
  return new ReadableStream({
    async start(controller) {
      const send = (text: string): void => controller.enqueue(encoder.encode(text));
      try {
        await new Follower({ pool, watch, run, order, send }).follow(stopped);
      } catch (error) {
        // A client that left is no error, and a stream that broke is taken up again by its number.
        if (!stopped.aborted) send(`: the stream broke (${(error as Error).name}); come back with Last-Event-ID\n\n`);
      }
      watch.end();
      try {
        controller.close();
      } catch {
        // The client closed it first.
      }
    },
  });
}

interface FollowerParts {
  pool: ApiDependencies['pool'];
  watch: ReturnType<ApiDependencies['watchers']['watch']>;
  run: Run;
  order: StreamOrder;
  send: (text: string) => void;
}

class Follower {
  private sequence: number;
  /** Whether what comes now is asked for: all of it, or a turn that has begun. */
  private inScope: boolean;
  /** Characters of each reply that were sent. */
  private readonly sent = new Map<string, number>();
  private readonly replied = new Set<string>();

  constructor(private readonly parts: FollowerParts) {
    const { afterSequence, turnId } = parts.order;
    this.sequence = afterSequence;
    this.inScope = turnId === undefined;
  }

  async follow(signal: AbortSignal): Promise<void> {
    const { pool, run, watch, send } = this.parts;
    const { tenantId, runId } = run;
    let saidAtMs = Date.now();
    send(': what happens, as it happens\n\n');
    const ended = await this.comeBack();
    if (ended) return send(endOf(ended));
    while (!signal.aborted) {
      const [events, deltas] = await Promise.all([
        readRunEvents(pool, { tenantId, runId, afterSequence: this.sequence }),
        readDeltas(pool, { tenantId, runId }),
      ]);
      // Pieces of a reply belong before the event that has it whole.
      for (const event of events) if (this.pass(event)) return;
      for (const delta of deltas) this.piece(delta);
      if (events.length > 0 || deltas.length > 0) saidAtMs = Date.now();
      if (Date.now() - saidAtMs > aliveMs) {
        saidAtMs = Date.now();
        send(': alive\n\n');
      }
      if (events.length < eventsMax) await watch.next(pollMs, signal);
    }
  }

  /** Sends an event. True when it was the last one. */
  private pass({ sequence, type, data, createdAt }: RunEvent): boolean {
    const { send, order } = this.parts;
    this.sequence = sequence;
    if (type === 'turn.started' && data.turnId === order.turnId) this.inScope = true;
    const isOwnEnd = type === 'turn.ended' && data.turnId === order.turnId;
    if (!this.inScope && !isOwnEnd && type !== 'run.ended') return false;
    if (type === 'model.replied') this.rest(String(data.operationId), String(data.text));
    send(sseEvent({ id: sequence, event: type, data: { sequence, at: createdAt.toISOString(), ...data } }));
    if (type !== 'run.ended' && !isOwnEnd) return false;
    send(endOf(data as unknown as RunEnded));
    return true;
  }

  /** What was not seen of a reply while it was written: its pieces always add up to it. */
  private rest(operationId: string, text: string): void {
    this.piece({ operationId, position: 0, text });
    this.replied.add(operationId);
  }

  private piece({ operationId, position, text }: { operationId: string; position: number; text: string }): void {
    if (!this.inScope || this.replied.has(operationId)) return;
    const sent = this.sent.get(operationId) ?? 0;
    const end = position + text.length;
    if (end <= sent) return;
    this.sent.set(operationId, end);
    const from = Math.max(0, sent - position);
    const data = { operationId, position: position + from, text: text.slice(from) };
    this.parts.send(sseEvent({ event: 'delta', data }));
  }

  /** Where a client that comes back is: whether its turn has begun, and the end if it saw even that. */
  private async comeBack(): Promise<RunEnded | undefined> {
    const { order, pool, run } = this.parts;
    const { afterSequence, turnId } = order;
    if (afterSequence === 0) return undefined;
    const { tenantId, runId } = run;
    const seen = async (key: string): Promise<RunEnded | undefined> => {
      const event = await findRunEvent(pool, { tenantId, runId, key });
      return event && event.sequence <= afterSequence ? (event.data as unknown as RunEnded) : undefined;
    };
    if (turnId === undefined) return seen('ended');
    this.inScope = (await seen(`turn-${turnId}`)) !== undefined;
    return (await seen(`turn-ended-${turnId}`)) ?? seen('ended');
  }
}

interface RunEnded {
  status: string;
  failure?: RunFailure;
}

/** As many as one look brings: more may be there at once. */
const eventsMax = 500;

/** How a stream ends; a run that was denied midway ends as C5 says. */
function endOf({ status, failure }: RunEnded): string {
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
