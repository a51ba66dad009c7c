/**
 * What one connection may have under way, and how long an answer may wait for who reads it. Without these bounds one write of
 * a client is a thousand requests, and answers that nobody reads stay in memory for as long as their connections.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { MiddlewareHandler } from 'hono';
import type { ApiContext, ApiEnv } from './context';
import { ApiError } from './errors';

const MiB = 1024 * 1024;

export interface SocketLimits {
  /** Requests of one connection that are not answered yet. Clients that send before they have an answer are rare. */
  pipelinedMax: number;
  /** How long a whole answer may wait to be taken. */
  takenMs: number;
  /** Of answers that were made and are not taken yet: those of one owner, and all. */
  perOwnerBytes: number;
  allBytes: number;
}

export const socketLimits: SocketLimits = {
  pipelinedMax: 16,
  takenMs: 60_000,
  perOwnerBytes: 32 * MiB,
  allBytes: 256 * MiB,
};

const lookMs = 250;

interface Answer {
  owner?: string;
  /** When it was first seen to be whole and not taken. */
  wholeSinceMs?: number;
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/** The answers of a process that are under way. */
export class UntakenAnswers {
  private readonly open = new Map<ServerResponse, Answer>();
  private readonly owned = new Map<string, number>();
  private all = 0;
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
      this.open.set(response, {});
      response.once('close', () => {
        own.delete(response);
        this.open.delete(response);
      });
      this.timer ??= setInterval(() => this.look(), lookMs).unref();
      for (const listener of listeners) listener.call(server, request, response);
    }) satisfies Listener);
    server.once('close', () => clearInterval(this.timer));
  }

  /** @throws ApiError `too_much_at_once` while answers of the same owner, or of all, wait for somebody to read them. */
  admit(c: ApiContext, owner: string): void {
    const answer = this.open.get(c.env.outgoing);
    if (answer) answer.owner = owner;
    if ((this.owned.get(owner) ?? 0) <= this.limits.perOwnerBytes && this.all <= this.limits.allBytes) return;
    c.header('retry-after', '1');
    const message =
      'Answers that were made before and nobody has read yet take all the room there is. Nothing was done.';
    throw new ApiError('too_much_at_once', message, { retryAfter: 1 });
  }

  private look(): void {
    const nowMs = performance.now();
    this.owned.clear();
    this.all = 0;
    for (const [response, answer] of this.open) {
      // One that goes on is bounded where it is made.
      if (!response.writableEnded) continue;
      answer.wholeSinceMs ??= nowMs;
      if (nowMs - answer.wholeSinceMs > this.limits.takenMs) response.destroy();
      const bytes = response.writableLength;
      this.all += bytes;
      if (answer.owner !== undefined) this.owned.set(answer.owner, (this.owned.get(answer.owner) ?? 0) + bytes);
    }
  }
}

/** For what is asked with a key. */
export const limitAnswers =
  (untaken: UntakenAnswers): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    const { tenantId, apiKeyId } = c.get('caller');
    untaken.admit(c, tenantId ?? apiKeyId);
    await next();
  };

/** For pages that anybody may ask for, by where they are asked from. */
export const limitPages =
  (untaken: UntakenAnswers): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    untaken.admit(c, `from ${c.env.incoming.socket.remoteAddress ?? ''}`);
    await next();
  };
