/**
 * What happens in a run or a conversation, as a stream that misses nothing: each event has its number, and a client that
 * comes back names the last it saw. A reply comes piece by piece while it is written (`delta`, without a number), and whole in
 * `model.replied`.
 */
import { readDeltas } from '../../store/reply-deltas';
import { findRunEvent, readRunEvents, type Run, type RunEvent, type RunFailure } from '../../store/runs';
import type { Pool } from '../../store/pool';
import type { ApiDependencies } from '../http/context';
import type { ApiContext } from '../http/request';
import { denialBody, denialEvents, deniedAnswer, sseEvent } from '../http/denials';
import type { LongOrder } from '../http/long-answers';
import { streamHeaders } from '../http/openapi';
import type { RunWatch } from './run-watchers';

/** How often a stream of which nothing is new says that it lives. */
const aliveMs = 15_000;

export interface StreamOrder {
  afterSequence: number;
  /** Only this turn of a conversation, and only to its end. */
  turnId?: string;
}

/** What happens in a run, as the pieces of an answer. */
async function* runEvents(
  { streamPool: pool, watchers }: Pick<ApiDependencies, 'streamPool' | 'watchers'>,
  run: Run,
  { stopped, requestId, ...order }: StreamOrder & { stopped: AbortSignal; requestId: string },
): AsyncGenerator<string, void> {
  const watch = watchers.watch(run);
  try {
    yield* new Follower({ requestId, pool, watch, run, order }).follow(stopped);
  } catch (error) {
    // A client that left is no error, and a stream that broke is taken up again by its number.
    if (!stopped.aborted) yield `: the stream broke (${(error as Error).name}); come back with Last-Event-ID\n\n`;
  } finally {
    watch.end();
  }
}

/** The same as an answer. */
export const streamRunEvents = (
  c: ApiContext,
  dependencies: ApiDependencies,
  { run, order, headers = {}, ...more }: EventsAnswer,
): Promise<Response> =>
  dependencies.longAnswers.answer(c, {
    kind: 'events',
    headers: { ...streamHeaders, ...headers },
    pieces: (stopped) => runEvents(dependencies, run, { ...order, stopped, requestId: c.get('requestId') }),
    ...more,
  });

export interface EventsAnswer extends Pick<LongOrder, 'place' | 'gone'> {
  run: Run;
  order: StreamOrder;
  headers?: Record<string, string>;
}

interface FollowerParts {
  /** Of the request that asked for the stream. */
  requestId: string;
  pool: Pool;
  watch: RunWatch;
  run: Run;
  order: StreamOrder;
}

class Follower {
  private sequence: number;
  /** Whether what comes now is asked for: all of it, or a turn that has begun. */
  private inScope: boolean;
  /** Characters of each reply that were sent. */
  private readonly sent = new Map<string, number>();
  private readonly replied = new Set<string>();
  /** What is to be sent next. */
  private written = '';

  constructor(private readonly parts: FollowerParts) {
    const { afterSequence, turnId } = parts.order;
    this.sequence = afterSequence;
    this.inScope = turnId === undefined;
  }

  /** Looks again when what it found was taken: a reader that is slow makes it slow. */
  async *follow(signal: AbortSignal): AsyncGenerator<string, void> {
    const { pool, run, watch } = this.parts;
    const { tenantId, runId } = run;
    let saidAtMs = Date.now();
    yield ': what happens, as it happens\n\n';
    const ended = await this.comeBack();
    if (ended) {
      yield endOf(ended, this.parts.requestId);
      return;
    }
    while (!signal.aborted) {
      const [{ events, hasMore }, deltas] = await Promise.all([
        readRunEvents(pool, { tenantId, runId, afterSequence: this.sequence }),
        readDeltas(pool, { tenantId, runId }),
      ]);
      // Pieces of a reply belong before the event that has it whole.
      for (const event of events) {
        if (!this.pass(event)) continue;
        yield this.taken();
        return;
      }
      for (const delta of deltas) this.piece(delta);
      if (this.written === '' && Date.now() - saidAtMs >= aliveMs) this.written = ': alive\n\n';
      if (this.written !== '') {
        saidAtMs = Date.now();
        yield this.taken();
      }
      if (!hasMore) await watch.next(Math.min(aliveMs, Math.max(0, saidAtMs + aliveMs - Date.now())), signal);
    }
  }

  private taken(): string {
    const taken = this.written;
    this.written = '';
    return taken;
  }

  private send(text: string): void {
    this.written += text;
  }

  /** Sends an event. True when it was the last one. */
  private pass({ sequence, type, data, createdAt }: RunEvent): boolean {
    const { order } = this.parts;
    this.sequence = sequence;
    if (type === 'turn.started' && data.turnId === order.turnId) this.inScope = true;
    const isOwnEnd = type === 'turn.ended' && data.turnId === order.turnId;
    if (!this.inScope && !isOwnEnd && type !== 'run.ended') return false;
    if (type === 'model.replied') this.rest(String(data.operationId), String(data.text));
    this.send(sseEvent({ id: sequence, event: type, data: { sequence, at: createdAt.toISOString(), ...data } }));
    if (type !== 'run.ended' && !isOwnEnd) return false;
    this.send(endOf(data as unknown as RunEnded, this.parts.requestId));
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
    this.send(sseEvent({ event: 'delta', data }));
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

/** How a stream ends; a run that was denied midway ends as C5 says. */
function endOf({ status, failure }: RunEnded, requestId: string): string {
  if (status !== 'quota_exceeded') return sseEvent({ event: 'done', data: { status } });
  const body = denialBody({
    message: failure?.message ?? 'The run was denied.',
    resource: failure?.resource ?? 'llm',
    quota: failure?.quota,
    retryAfterSeconds: failure?.retryAfterSeconds,
  });
  return denialEvents(deniedAnswer(body, requestId));
}
