/**
 * What one connection may have under way, and how long an answer may wait for who reads it. Without these bounds one write of
 * a client is a thousand requests, and answers that nobody reads stay in memory for as long as their connections.
 *
 * There are two rooms for what is unread: one for whoever has a key, and a smaller one for all who have none. Where one is full,
 * whoever leaves most in it loses the oldest: a newcomer is served, and nobody is refused for what others leave. A tenant that
 * has its share is refused more reads, so that it can take what it has.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { MiddlewareHandler } from 'hono';
import { ownerOf, type ApiContext, type ApiEnv } from './request';
import { ApiError } from './errors';

const MiB = 1024 * 1024;

export interface SocketLimits {
  /** Requests of one connection that are not answered yet. Clients that send before they have an answer are rare. */
  pipelinedMax: number;
  /** How long a whole answer may wait to be taken. */
  takenMs: number;
  /** Of answers that were made and are not taken yet: those of one owner (a tenant, or a key of the administration), and all. */
  perOwnerBytes: number;
  allBytes: number;
  /** The same of all that came without a good key. */
  keylessBytes: number;
}

export const socketLimits: SocketLimits = {
  pipelinedMax: 16,
  takenMs: 60_000,
  perOwnerBytes: 32 * MiB,
  allBytes: 256 * MiB,
  keylessBytes: 32 * MiB,
};

const lookMs = 250;
/** What is known of them is no older when a request comes, or an answer is made. */
const staleMs = 25;

interface Answer {
  socket: Socket;
  /** Once it is known. */
  owner?: string;
  /** When it was first seen to be whole and not taken. */
  wholeSinceMs?: number;
}

/** Where a socket comes from. In IPv6 that is a network: whoever has one address of it has all of them. */
export const networkOf = ({ remoteAddress = '' }: Pick<Socket, 'remoteAddress'>): string =>
  remoteAddress.includes('.') ? remoteAddress : remoteAddress.split(':').slice(0, 4).join(':');

/** What one owner, or one network without a key, leaves unread: its connections with their bytes, the oldest first. */
interface Unread {
  bytes: number;
  sockets: Map<Socket, number>;
}
type Room = Map<string, Unread>;

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/** The answers of a process that are under way. */
export class UntakenAnswers {
  private readonly open = new Map<ServerResponse, Answer>();
  private owned: Room = new Map();
  private lookedAtMs = -Infinity;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly limits: SocketLimits = socketLimits) {}

  /** From here on the server's connections have bounds. */
  watch(server: Server): void {
    const listeners = server.listeners('request') as Listener[];
    const underWay = new WeakMap<Socket, Set<ServerResponse>>();
    const ofSocket = (socket: Socket): Set<ServerResponse> => {
      const known = underWay.get(socket);
      if (known) return known;
      const made = new Set<ServerResponse>();
      underWay.set(socket, made);
      // Answers that wait for the one before them are not told of the end.
      socket.once('close', () => made.forEach((response) => this.open.delete(response)));
      return made;
    };
    server.removeAllListeners('request');
    server.on('request', ((request, response) => {
      const { socket } = request;
      const own = ofSocket(socket);
      // The rest of what was read with it comes here too, and is not carried out.
      if (own.size >= this.limits.pipelinedMax) return void socket.destroy();
      own.add(response);
      this.open.set(response, { socket });
      response.once('close', () => {
        own.delete(response);
        this.open.delete(response);
      });
      this.timer ??= setInterval(() => this.look(), lookMs).unref();
      this.lookAgain();
      for (const listener of listeners) listener.call(server, request, response);
    }) satisfies Listener);
    server.once('close', () => clearInterval(this.timer));
  }

  /** From here on its answer counts for this owner. */
  own(response: ApiContext['env']['outgoing'], owner: string): void {
    const answer = this.open.get(response);
    if (answer) answer.owner = owner;
  }

  /** @throws ApiError `too_much_at_once` while answers of the same owner wait for somebody to read them. */
  admit(owner: string): void {
    if ((this.owned.get(owner)?.bytes ?? 0) <= this.limits.perOwnerBytes) return;
    const message =
      'Answers that were made before and nobody has read yet take all the room there is. Nothing was done.';
    throw new ApiError('too_much_at_once', message, { retryAfter: 1 });
  }

  /** Many can be made between two looks. */
  lookAgain(): void {
    if (performance.now() - this.lookedAtMs >= staleMs) this.look();
  }

  private look(): void {
    const nowMs = (this.lookedAtMs = performance.now());
    const keyless: Room = new Map();
    this.owned = new Map();
    for (const [response, answer] of this.open) {
      const { socket, owner } = answer;
      // One that goes on is bounded where it is made.
      if (!response.writableEnded || socket.destroyed) continue;
      answer.wholeSinceMs ??= nowMs;
      // Not the response: one that waits for the one before it would not end.
      if (nowMs - answer.wholeSinceMs > this.limits.takenMs) socket.destroy();
      else if (owner === undefined) count(keyless, networkOf(socket), socket, response.writableLength);
      else count(this.owned, owner, socket, response.writableLength);
    }
    makeRoom(keyless, this.limits.keylessBytes);
    makeRoom(this.owned, this.limits.allBytes);
  }
}

function count(room: Room, owner: string, socket: Socket, bytes: number): void {
  if (bytes === 0) return;
  const unread = room.get(owner) ?? { bytes: 0, sockets: new Map<Socket, number>() };
  room.set(owner, unread);
  unread.bytes += bytes;
  unread.sockets.set(socket, (unread.sockets.get(socket) ?? 0) + bytes);
}

/** Ends the oldest connection of whoever leaves most, until what is left has room. */
function makeRoom(room: Room, bytesMax: number): void {
  const all = [...room.values()];
  let left = all.reduce((sum, { bytes }) => sum + bytes, 0);
  while (left > bytesMax) {
    const most = all.reduce((one, other) => (other.bytes > one.bytes ? other : one));
    const [oldest] = most.sockets;
    if (!oldest) return;
    const [socket, bytes] = oldest;
    socket.destroy();
    most.sockets.delete(socket);
    most.bytes -= bytes;
    left -= bytes;
  }
}

/** For what is asked with a key. Only reads are refused: reservations, their ends and stops have to get through. */
export const limitAnswers =
  (untaken: UntakenAnswers): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    const owner = ownerOf(c.get('caller'));
    untaken.own(c.env.outgoing, owner);
    if (c.req.method === 'GET' || c.req.method === 'HEAD') untaken.admit(owner);
    await next();
    untaken.lookAgain();
  };
