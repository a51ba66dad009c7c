/**
 * Room for bodies that are under way: who has how much of it. One that says its length takes that, and one that does not takes the
 * longest that it may be, before anything of it is read. So room is also taken by what hardly comes; where somebody needs it,
 * whoever would not be whole in time at its pace gives it back.
 */
import type { HttpBindings } from '@hono/node-server';
import { ApiError, type WrittenAnswer } from './errors';
import { largeBytes } from './large-bodies';

const MiB = 1024 * 1024;

/** How long a client may take over its whole request. */
export const requestMaxMs = 30_000;
/** Before that nothing is said of its pace. */
const paceFromMs = 1_000;
/** Of what had come before it took its room nothing is known; it is no more than this. */
const cameBeforeBytes = 64 * 1024;

export interface BodyRoomLimits {
  /** All bodies that are under way, of one owner; the large ones in this process. */
  perOwnerBytes: number;
  allBytes: number;
  /** Of its large ones an owner has so much whatever others have. */
  ownBytes: number;
  /** Larger ones are large. */
  largeBytes: number;
}

const bodyRoomLimits: BodyRoomLimits = {
  perOwnerBytes: 40 * MiB,
  allBytes: 120 * MiB,
  ownBytes: 4 * MiB,
  largeBytes,
};

interface BodyOrder {
  owner: string;
  bytes: number;
  env: HttpBindings;
  /** An error as its client understands it. */
  answerOf: (error: ApiError) => WrittenAnswer;
}

export class BodyUnderWay {
  private readonly sinceMs = performance.now();
  private readonly readBytes: number;

  constructor(
    private readonly order: BodyOrder,
    readonly release: () => void,
  ) {
    this.readBytes = order.env.incoming.socket.bytesRead;
  }

  get owner(): string {
    return this.order.owner;
  }
  get bytes(): number {
    return this.order.bytes;
  }

  /** It has come whole, without having said its length. */
  isWhole(): void {
    this.order.bytes = Math.min(this.order.bytes, this.cameBytes() + cameBeforeBytes);
  }

  /** Whether it would come too late as it comes. */
  get lags(): boolean {
    const forMs = performance.now() - this.sinceMs;
    if (forMs < paceFromMs || this.order.env.incoming.complete) return false;
    return this.cameBytes() + cameBeforeBytes < this.bytes * (forMs / requestMaxMs);
  }

  /** Its client is told so, as far as nothing else has to be answered first on its connection. */
  turnAway(): void {
    const { incoming, outgoing } = this.order.env;
    const message =
      'The body came so slowly that it was not waited for: others needed its room. Nothing of it was stored.';
    const error = new ApiError('too_much_at_once', message, { retryAfter: 1 });
    const { status, headers, body } = this.order.answerOf(error);
    const said = { ...headers, connection: 'close', 'content-length': Buffer.byteLength(body) };
    const lines = Object.entries(said).map(([name, value]) => `${name}: ${value}\r\n`);
    if (outgoing.socket && !outgoing.headersSent)
      incoming.socket.write(`HTTP/1.1 ${status} Too Many Requests\r\n${lines.join('')}\r\n${body}`);
    incoming.socket.destroy();
    this.release();
  }

  private cameBytes(): number {
    return this.order.env.incoming.socket.bytesRead - this.readBytes;
  }
}

export class BodyRoom {
  private readonly owned = new Map<string, Set<BodyUnderWay>>();

  constructor(private readonly limits: BodyRoomLimits = bodyRoomLimits) {}

  /** Takes room until it is released. Undefined where there is none. */
  take(order: BodyOrder): BodyUnderWay | undefined {
    if (!this.hasRoom(order)) this.makeRoom(order);
    if (!this.hasRoom(order)) return undefined;
    const own = this.owned.get(order.owner) ?? new Set();
    this.owned.set(order.owner, own);
    const body = new BodyUnderWay(order, () => {
      own.delete(body);
      if (own.size === 0 && this.owned.get(order.owner) === own) this.owned.delete(order.owner);
    });
    own.add(body);
    return body;
  }

  private hasRoom({ owner, bytes }: BodyOrder): boolean {
    const own = sum(this.owned.get(owner));
    // Whoever has nothing under way is always let in as far as the owner's share goes; and small ones are not refused for
    // what is large of others.
    if (bytes > 0 && own > 0 && own + bytes > this.limits.perOwnerBytes) return false;
    if (bytes <= this.limits.largeBytes) return true;
    const more = this.beyondOwn(this.owned.get(owner), bytes);
    if (more === 0) return true;
    let all = more;
    for (const [name, bodies] of this.owned) if (name !== owner) all += this.beyondOwn(bodies);
    return all <= this.limits.allBytes;
  }

  private makeRoom(order: BodyOrder): void {
    const lagging = [...this.owned.values()].flatMap((bodies) => [...bodies]).filter(({ lags }) => lags);
    // Those of the same owner first: they may be all that is in the way.
    lagging.sort((one, other) => Number(other.owner === order.owner) - Number(one.owner === order.owner));
    for (const body of lagging) {
      if (this.hasRoom(order)) return;
      body.turnAway();
    }
  }

  /** What an owner's large ones, with `more`, take of the room for all. */
  private beyondOwn(bodies: Iterable<BodyUnderWay> = [], more = 0): number {
    const large = [...bodies].filter(({ bytes }) => bytes > this.limits.largeBytes);
    return Math.max(0, sum(large) + more - this.limits.ownBytes);
  }
}

const sum = (bodies: Iterable<BodyUnderWay> = []): number => {
  let all = 0;
  for (const { bytes } of bodies) all += bytes;
  return all;
};
