/**
 * Answers that go on: event streams and exports. All of them are made here, so that each has an end: its reader left or reads no
 * more, its time is over, its key was revoked, the process stops. They are counted, for each owner and in all. HEAD makes none.
 */
import { ownerOf, type ApiContext } from './request';
import { clientGone } from './request';
import type { Callers } from './callers';
import { ApiError } from './errors';

export type LongKind = 'events' | 'export' | 'file';

export interface LongLimits {
  /** Open at once, for one owner (a tenant, or a key of the administration) and in this process. */
  perOwner: number;
  all: number;
  /** How long nobody may read what is there. */
  unreadMs: number;
  /** How long one may last in all. A client of an event stream comes back after it. */
  lastMs: number;
}

export const longLimits: Record<LongKind, LongLimits> = {
  events: { perOwner: 500, all: 5_000, unreadMs: 30_000, lastMs: 6 * 3_600_000 },
  export: { perOwner: 1, all: 4, unreadMs: 30_000, lastMs: 15 * 60_000 },
  file: { perOwner: 8, all: 32, unreadMs: 30_000, lastMs: 15 * 60_000 },
};

/** An answer piece by piece. It stops by itself when the signal says so. */
export type Pieces = (stopped: AbortSignal) => AsyncGenerator<string | Uint8Array, void>;

const words: Record<LongKind, string> = {
  events: 'event streams',
  export: 'exports (or what-ifs)',
  file: 'downloads of files',
};

export class LongAnswers {
  private readonly counts = {
    events: new Map<string, number>(),
    export: new Map<string, number>(),
    file: new Map<string, number>(),
  };
  private readonly open = { events: 0, export: 0, file: 0 };

  constructor(
    private readonly callers: Callers,
    private readonly closing: AbortSignal,
    private readonly limits: Record<LongKind, LongLimits> = longLimits,
  ) {}

  /** How many are open. */
  get openCount(): number {
    return this.open.events + this.open.export + this.open.file;
  }

  /**
   * Takes a place for one, to be given back when it comes to nothing.
   * @throws ApiError `too_much_at_once` when there is none.
   */
  place(c: ApiContext, kind: LongKind): Place {
    const { caller } = c.var;
    const owner = ownerOf(caller);
    const { perOwner, all } = this.limits[kind];
    const own = this.counts[kind].get(owner) ?? 0;
    if (own >= perOwner || this.open[kind] >= all) {
      const what =
        own >= perOwner ? `${own} ${words[kind]} of ${caller.tenantId ?? 'this key'}` : `${all} ${words[kind]}`;
      throw new ApiError(
        'too_much_at_once',
        `As many as may be are open already: ${what}. Nothing was begun; try again when one has ended.`,
        { retryAfter: 5 },
      );
    }
    this.counts[kind].set(owner, own + 1);
    this.open[kind] += 1;
    let isTaken = true;
    return {
      release: () => {
        if (!isTaken) return;
        isTaken = false;
        const left = (this.counts[kind].get(owner) ?? 1) - 1;
        if (left > 0) this.counts[kind].set(owner, left);
        else this.counts[kind].delete(owner);
        this.open[kind] -= 1;
      },
    };
  }

  /** Answers with what `pieces` yields. What it throws before its first piece is the answer. */
  async answer(c: ApiContext, order: LongOrder): Promise<Response> {
    const { kind, headers, pieces } = order;
    // Whoever asks with HEAD reads nothing: nothing is begun.
    if (c.req.method === 'HEAD') {
      order.place?.release();
      return new Response(null, { headers });
    }
    const place = order.place ?? this.place(c, kind);
    const key = await this.callers.whileGood(c.get('caller').apiKeyId).catch((error: unknown) => {
      place.release();
      throw error;
    });
    const { unreadMs, lastMs } = this.limits[kind];
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), lastMs);
    const stopped = AbortSignal.any([order.gone ?? clientGone(c), this.closing, key.ended, over.signal]);
    const release = (): void => {
      clearTimeout(timer);
      key.release();
      place.release();
    };
    const answer = new LongAnswer(pieces(stopped), stopped, {
      unreadMs,
      endsWhole: kind !== 'events',
      cut: () => c.env.outgoing.destroy(),
      halt: () => over.abort(),
      release,
    });
    await answer.begin();
    return new Response(answer.stream(), { headers });
  }
}

export interface Place {
  release(): void;
}

export interface LongOrder {
  kind: LongKind;
  headers: Record<string, string>;
  pieces: Pieces;
  /** Taken before, where something had to be done first. */
  place?: Place;
  /** The client's going away, where somebody listens to it already. */
  gone?: AbortSignal;
}

interface LongParts {
  unreadMs: number;
  /** One that is stopped must not look whole. */
  endsWhole: boolean;
  /** Closes the connection of whoever does not read. */
  cut: () => void;
  /** Tells what makes the pieces to stop. */
  halt: () => void;
  release: () => void;
}

class LongAnswer {
  private readonly encoder = new TextEncoder();
  private first: IteratorResult<string | Uint8Array, void> | undefined;
  private isReading = false;
  private isOver = false;
  private unread: NodeJS.Timeout | undefined;

  constructor(
    private readonly pieces: AsyncGenerator<string | Uint8Array, void>,
    private readonly stopped: AbortSignal,
    private readonly parts: LongParts,
  ) {}

  async begin(): Promise<void> {
    try {
      this.first = await this.pieces.next();
    } catch (error) {
      this.end();
      throw error;
    }
    this.await();
    this.stopped.addEventListener('abort', this.stop, { once: true });
    if (this.stopped.aborted) this.stop();
  }

  /** Read piece by piece, as fast as its reader takes them. */
  stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          clearTimeout(this.unread);
          this.isReading = true;
          try {
            const next = this.first ?? (await this.pieces.next());
            this.first = undefined;
            const isCut = this.parts.endsWhole && this.stopped.aborted;
            if (isCut) return this.cut();
            if (next.done) {
              this.end();
              controller.close();
            } else controller.enqueue(typeof next.value === 'string' ? this.encoder.encode(next.value) : next.value);
          } catch {
            return this.cut();
          } finally {
            this.isReading = false;
          }
          this.await();
        },
        cancel: () => this.end(),
      },
      { highWaterMark: 0 },
    );
  }

  /** What nobody reads ends: it keeps memory, and may keep a connection to Postgres. */
  private await(): void {
    if (this.isOver) return;
    clearTimeout(this.unread);
    this.unread = setTimeout(() => this.cut(), this.parts.unreadMs);
  }

  private readonly stop = (): void => {
    // One that is being read ends by itself.
    if (!this.isReading || this.parts.endsWhole) this.cut();
  };

  private cut(): void {
    this.end();
    this.parts.cut();
  }

  private end(): void {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.unread);
    this.stopped.removeEventListener('abort', this.stop);
    this.parts.halt();
    // What it still waits for is over first; it holds its place until then.
    void this.pieces
      .return()
      .catch(() => undefined)
      .finally(this.parts.release);
  }
}
