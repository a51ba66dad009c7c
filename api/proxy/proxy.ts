/**
 * The wire proxy: other people's agents speak their provider's protocol to it, with a key of Spendlock in the place of the provider's.
 * Each call is bounded, reserved and claimed, passed on as it came, and its cost written from what its answer says. Why so:
 * docs/decisions/0055-wire-proxy.md.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from '../../store/pool';
import type { ModelAccounts } from '../../temporal/model-accounts';
import type { Logger } from '../../telemetry/log';
import { RepeatedFailures } from '../../telemetry/repeated-failures';
import { BodyRoom, type BodyUnderWay } from '../http/body-room';
import type { Callers } from '../http/callers';
import type { Authority } from '../http/context';
import { ApiError, type WrittenAnswer } from '../http/errors';
import { largeBytes } from '../http/large-bodies';
import { LongBodyTurns } from '../http/long-bodies';
import type { Policies, Prices, Tenants } from '../http/lookups';
import { keyRate } from '../http/rate-limit';
import { ownerOf } from '../http/request';
import type { UntakenAnswers } from '../http/sockets';
import { AnswerRoom, type AnswerRoomLimits } from './answer-room';
import { anthropicWire } from './anthropic/wire';
import { readBody, saidBytes } from './body';
import { Exchange } from './exchange';
import { googleWire } from './google/wire';
import { callerOf } from './keys';
import { ProxyMoney } from './money';
import { openAiWire } from './openai/wire';
import { OpenCalls } from './open-calls';
import { knownError, refusalAnswer, refuse } from './refusals';
import { Rooms } from './rooms';
import type { Passed, Wire } from './wire';

const MiB = 1024 * 1024;
const wires: readonly Wire[] = [anthropicWire, openAiWire, googleWire];
/** The first part of every path of the proxy. */
const prefix = '/proxy/';
/** How long what is answered may take to end once its connections were ended, in a process that stops. */
const endMaxMs = 5_000;

export interface ProxyOptions {
  /** The providers that this process has a key of. */
  accounts: ModelAccounts;
  /** How long a hold lasts without word of its call; set apart in tests. */
  holdSeconds?: number | undefined;
  /** How long a provider's stream may be silent. */
  idleMs?: number | undefined;
  /** How much of answers that come whole is kept; set apart in tests. */
  answerRoom?: AnswerRoomLimits | undefined;
  /** Requests of one key within a second; without it they are not counted. */
  rateLimitPerSecond?: number | undefined;
}

export interface ProxyDependencies extends ProxyOptions {
  pool: Pool;
  log: Logger;
  callers: Pick<Callers, 'of' | 'wasKnown'>;
  tenants: Pick<Tenants, 'of'>;
  policies: Pick<Policies, 'of'>;
  prices: Pick<Prices, 'list'>;
  authority: Pick<Authority, 'reserve' | 'writeOutcome' | 'send'>;
  untaken: Pick<UntakenAnswers, 'own'>;
  closing: AbortSignal;
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/** Whether a request is the proxy's. */
export const isProxied = ({ url }: Pick<IncomingMessage, 'url'>): boolean => url?.startsWith(prefix) ?? false;

/** The key that a request of the proxy comes with, whichever protocol it speaks. */
export function proxyKeyOf({ url = '', headers }: Pick<IncomingMessage, 'url' | 'headers'>): string | undefined {
  const at = url.indexOf('?');
  return wireOf(url)?.keyIn(headers, new URLSearchParams(at < 0 ? '' : url.slice(at)));
}

const wireOf = (url: string): Wire | undefined =>
  wires.find(({ provider }) => url.startsWith(`${prefix}${provider}/`) || url === `${prefix}${provider}`);

export class WireProxy {
  private readonly money: ProxyMoney;
  private readonly room = new BodyRoom({
    ...{ perOwnerBytes: 256 * MiB, allBytes: 512 * MiB, ownBytes: 4 * MiB },
    largeBytes,
  });
  private readonly longBodies = new LongBodyTurns();
  private readonly open = new OpenCalls();
  private readonly answering = new Set<Promise<void>>();
  private readonly rooms: Rooms;
  private readonly answers: AnswerRoom;
  private readonly failures: RepeatedFailures;
  private readonly admit: (apiKeyId: string) => Promise<void>;

  constructor(private readonly dependencies: ProxyDependencies) {
    const { holdSeconds, rateLimitPerSecond, ...rest } = dependencies;
    this.admit = rateLimitPerSecond === undefined ? () => Promise.resolve() : keyRate(rateLimitPerSecond);
    this.money = new ProxyMoney({ ...rest, holdSeconds });
    this.rooms = new Rooms(dependencies.pool);
    this.answers = new AnswerRoom(dependencies.answerRoom);
    this.failures = new RepeatedFailures(dependencies.log, 'a request to the proxy failed');
  }

  /** From here on the server's requests under its prefix are answered here. */
  watch(server: Server): void {
    const listeners = server.listeners('request') as Listener[];
    server.removeAllListeners('request');
    server.on('request', ((request, response) => {
      if (isProxied(request)) void this.answer(request, response);
      else for (const listener of listeners) listener.call(server, request, response);
    }) satisfies Listener);
  }

  /** Answers a request, whatever becomes of it. */
  answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answering = this.answerOne(request, response).finally(() => this.answering.delete(answering));
    this.answering.add(answering);
    return answering;
  }

  private async answerOne(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const requestId = randomUUID();
    const wire = wireOf(request.url ?? '') ?? anthropicWire;
    // A process that ends keeps no connection: its client comes back to another.
    if (this.dependencies.closing.aborted) response.shouldKeepAlive = false;
    if (!(await itsTurn(request, response))) return;
    try {
      await this.take(request, response, { wire, requestId });
    } catch (error) {
      const known = knownError(error);
      if (known !== error && known instanceof ApiError && known.status >= 500)
        this.failures.add(error as Error, { requestId, path: '/proxy', error });
      refuse(response, wire, known, { requestId });
    }
  }

  /** Waits until what was made is written. It is known only once what is answered has ended, which its connections have by then. */
  async settled(): Promise<void> {
    await Promise.race([Promise.allSettled(this.answering), sleep(endMaxMs, undefined, { ref: false })]);
    await this.money.settled();
  }

  private async take(
    request: IncomingMessage,
    response: ServerResponse,
    { wire, requestId }: { wire: Wire; requestId: string },
  ): Promise<void> {
    const { url, passed } = routeOf(request, wire);
    const caller = await callerOf(proxyKeyOf(request), request.headers, this.dependencies);
    this.dependencies.untaken.own(response, ownerOf(caller));
    await this.admit(caller.apiKeyId);
    const account = this.dependencies.accounts[wire.provider];
    if (!account)
      throw new ApiError('provider_credentials', `This process has no key of ${wire.name}. No call was made.`, {
        action: `Set the provider’s key for the process of the proxy, as for workers.`,
      });
    const owner = ownerOf(caller);
    const release = this.open.enter(owner);
    const body = this.roomFor(request, response, { owner, wire, requestId });
    try {
      const { prices, log, idleMs } = this.dependencies;
      const parts = { rooms: this.rooms, answers: this.answers, prices, log, idleMs, money: this.money, wire, account };
      const exchange = new Exchange(parts, {
        request,
        response,
        requestId,
        caller,
        url,
        onSent: () => body?.release(),
      });
      const rest = await this.begin(exchange, request, { owner, passed, body });
      await rest();
    } finally {
      body?.release();
      release();
    }
  }

  /** What is left to do once its body is sent, and kept no longer. */
  private async begin(
    exchange: Exchange,
    request: IncomingMessage,
    { owner, passed, body }: { owner: string; passed: Passed; body: BodyUnderWay | undefined },
  ): Promise<() => Promise<void>> {
    const bytes = await readBody(request);
    body?.isWhole();
    await this.longBodies.wait(owner, bytes.length);
    await this.checkStillGood(request);
    return passed.type === 'call' ? exchange.call(bytes, passed.call) : exchange.free(bytes, passed);
  }

  /** @throws ApiError when there is no room for a body. */
  private roomFor(
    request: IncomingMessage,
    response: ServerResponse,
    { owner, wire, requestId }: { owner: string; wire: Wire; requestId: string },
  ): BodyUnderWay | undefined {
    const bytes = saidBytes(request);
    if (bytes === 0) return undefined;
    const env = { incoming: request, outgoing: response };
    const answerOf = (error: ApiError): WrittenAnswer => refusalAnswer(wire, error, { requestId });
    const body = this.room.take({ owner, bytes, env, answerOf });
    if (body) return body;
    const message = 'Bodies that are under way already take all the room there is. No call was made.';
    throw new ApiError('too_much_at_once', message, { retryAfter: 1 });
  }

  /** Its body may have taken minutes to come: a key that was revoked meanwhile pays nothing. */
  private async checkStillGood(request: IncomingMessage): Promise<void> {
    if (await this.dependencies.callers.of(proxyKeyOf(request) ?? '')) return;
    throw new ApiError('unauthorized', 'The API key was revoked while the body came. No call was made.');
  }
}

/**
 * Whether a request that came before those ahead of it on its connection were answered has its turn. Before that it would not be told that
 * its client has gone, so nothing is begun for it.
 */
async function itsTurn({ socket }: IncomingMessage, response: ServerResponse): Promise<boolean> {
  if (response.socket) return true;
  return new Promise((resolve) => {
    const gone = (): void => resolve(false);
    socket.once('close', gone);
    response.once('socket', () => {
      socket.off('close', gone);
      resolve(true);
    });
  });
}

/** What is asked of which provider. @throws ApiError for what is not passed on. */
function routeOf(request: IncomingMessage, wire: Wire): { url: URL; passed: Passed } {
  const text = request.url ?? '';
  const isOurs = wireOf(text) !== undefined && URL.canParse(text, 'http://proxy');
  const url = new URL(isOurs ? text : '/', 'http://proxy');
  const path = url.pathname.slice(`${prefix}${wire.provider}`.length);
  const query = url.searchParams;
  const passed = isOurs ? wire.passes(request.method ?? '', path, query) : undefined;
  if (passed) return { url: new URL(path + (wire.queryOf?.(query) ?? url.search), 'http://proxy'), passed };
  const paths = wires.map(({ provider }) => `${prefix}${provider}`).join(', ');
  const why = isOurs
    ? (wire.whyNot(path) ?? `${request.method} ${path.slice(0, 200)} is not passed on.`)
    : `There is no such provider here: ${paths}.`;
  throw new ApiError('not_found', `${why} No call was made.`, {
    action: 'docs/adopt.md says what is passed on.',
  });
}
