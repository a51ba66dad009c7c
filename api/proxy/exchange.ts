/** One request that is passed on, from its money to the last byte of its answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { callFailure, type ErrorFacts } from '../../core/prices/call-failures';
import type { ModelAccount } from '../../temporal/model-accounts';
import type { Logger } from '../../telemetry/log';
import { traceOf } from '../../telemetry/spans';
import { ApiError } from '../http/errors';
import type { Prices } from '../http/lookups';
import { ownerOf } from '../http/request';
import { answerBytesMax, answerBytesOf, type AnswerRoom } from './answer-room';
import { errorSaidIn, isJson, isStream } from './answers';
import { askedIn } from './body';
import { boundOf, priceOf } from './bound';
import { readerOf, saidIn } from './encodings';
import { objectFrom } from './json';
import type { ProxyCaller } from './keys';
import type { Held, ProxyMoney } from './money';
import { answeredCall, failedCall, notSent, type PricedAnswer } from './outcome';
import { keyOf, settle, type PaidFor } from './paid';
import { passOn } from './pass';
import {
  answeredHeaders,
  askProvider,
  passedHeaders,
  type ProviderRequest,
  ProviderSilence,
  providerWaits,
  wholeAnswer,
} from './provider';
import { noAnswer, operationHeader, refusalOf, refuse, silence, withOpenLimit } from './refusals';
import type { Rooms } from './rooms';
import type { AnswerReader, AskedCall, CallWire, CountRequest, Passed, Wire } from './wire';

/** Errors are short, and an answer that comes whole is not passed on before it is known to be one. */
const bytesMax = { error: 1024 * 1024, whole: answerBytesMax };

export interface ExchangeParts {
  rooms: Pick<Rooms, 'of'>;
  answers: AnswerRoom;
  prices: Pick<Prices, 'list'>;
  log: Logger;
  idleMs: number | undefined;
  money: ProxyMoney;
  wire: Wire;
  account: ModelAccount;
}

export interface Exchanged {
  request: IncomingMessage;
  response: ServerResponse;
  requestId: string;
  caller: ProxyCaller;
  /** Path and query, as its provider has them. */
  url: URL;
  /** Its body is no longer needed. */
  onSent: () => void;
}

type FreeCheck = Extract<Passed, { type: 'free' }>['check'];

export class Exchange {
  private readonly gone = new AbortController();
  /** Its stream is handed on, which knows by itself when nobody reads it any more. */
  private isStreaming = false;
  /** Once its money is held. */
  private held: Held | undefined;
  /** Takes room for so much of an answer, until it is read. */
  private readonly hasRoom: (bytes: number) => boolean;

  constructor(
    private readonly parts: ExchangeParts,
    private readonly exchanged: Exchanged,
  ) {
    const { response } = exchanged;
    const share = parts.answers.shareOf(ownerOf(exchanged.caller));
    this.hasRoom = (bytes) => !response.destroyed && share.growTo(bytes);
    if (response.destroyed) this.gone.abort();
    response.once('close', () => {
      share.release();
      if (!response.writableFinished && !this.isStreaming) this.gone.abort();
    });
  }

  /** What its provider answers for nothing: asked, and what is left to do. @throws ApiError. */
  async free(bytes: Buffer, { check }: { check?: FreeCheck }): Promise<() => Promise<void>> {
    const { request, url, onSent } = this.exchanged;
    const { method = 'GET' } = request;
    check?.(askedIn(bytes));
    return this.ask(url, { method, body: bytes, answerMs: providerWaits.freeMs, onSent }).then(
      (answer) => () => this.passFree(answer),
      (error: unknown) => {
        throw silence(error);
      },
    );
  }

  private async passFree(answer: IncomingMessage): Promise<void> {
    if ((answer.statusCode ?? 0) >= 300) return void (await this.passError(answer));
    const whole = await wholeAnswer(answer, {
      bytesMax: bytesMax.whole,
      idleMs: providerWaits.freeMs,
      hasRoom: this.hasRoom,
    });
    const said = whole && isJson(answer) ? await saidIn(answer, whole, bytesMax.whole) : undefined;
    if (!whole || !said || !objectFrom(said.toString()))
      throw noAnswer('A page, or a part of an answer, came in its place.');
    this.passWhole(answer, whole);
  }

  /** A call of a model: paid for and sent, and what is left to do. @throws ApiError, or Denied. */
  async call(bytes: Buffer, call: CallWire): Promise<() => Promise<void>> {
    const paid = await this.pay(askedIn(bytes), call);
    const { url, onSent } = this.exchanged;
    // Not waited for here, where the body would be kept meanwhile.
    return this.ask(url, { method: 'POST', body: bytes, answerMs: providerWaits.answerMs, onSent }).then(
      (answer) => () => this.passPaid(answer, paid),
      (error: unknown) => {
        // Any other error comes before anything is sent.
        const isSent = error instanceof ProviderSilence;
        this.settle(paid, isSent ? failedCall(error.facts, { outputBegan: false }) : notSent);
        throw this.named(silence(error));
      },
    );
  }

  private async pay(body: Record<string, unknown>, call: CallWire): Promise<PaidFor> {
    const { wire, money, rooms } = this.parts;
    const { models: prices } = await this.parts.prices.list();
    const price = priceOf(wire, call.modelOf(body), prices);
    const asked = call.ask(body, price, this.parts.account);
    this.takeRoom(body, asked);
    const { countOf } = call;
    const count = countOf && (() => this.count(countOf(body)));
    const payer = await money.payerOf(this.exchanged.caller);
    const amountUsd = await boundOf(rooms, { payer, price, asked, count });
    const held = await money.hold(payer, { price, amountUsd, gone: this.gone.signal }).catch((error: unknown) => {
      throw withOpenLimit(error, asked);
    });
    this.held = held;
    const trace = traceOf(this.exchanged.request.headers);
    return { call, held, price, prices, startedMs: performance.now(), trace, isSettled: false };
  }

  /** @throws ApiError where an answer that comes whole would have no room. */
  private takeRoom(body: Record<string, unknown>, asked: AskedCall): void {
    if (asked.isStream || this.hasRoom(answerBytesOf(body, asked))) return;
    const message = 'Answers that are under way already take all the room there is. No call was made.';
    throw new ApiError('unavailable', message, { retryAfter: 1 });
  }

  private async passPaid(answer: IncomingMessage, paid: PaidFor): Promise<void> {
    try {
      await this.passCall(answer, paid);
    } catch (error) {
      throw this.named(error);
    } finally {
      // Whatever went wrong here: its provider was asked, and nobody knows what it billed.
      if (!paid.isSettled) this.settle(paid, failedCall({ kind: 'other' }, { outputBegan: true }));
      if (!answer.complete) answer.destroy();
    }
  }

  private async passCall(answer: IncomingMessage, paid: PaidFor): Promise<void> {
    if ((answer.statusCode ?? 0) >= 300) {
      const facts = await this.passError(answer);
      return this.settle(paid, failedCall(facts, { outputBegan: false }));
    }
    const reader = readerOf(answer, paid.call, this.hasRoom);
    if (isStream(answer)) return this.passStream(answer, reader, paid);
    const idleMs = this.parts.idleMs ?? providerWaits.idleMs;
    const { hasRoom } = this;
    const whole = isJson(answer) ? await wholeAnswer(answer, { bytesMax: bytesMax.whole, idleMs, hasRoom }) : undefined;
    if (whole) reader.push(whole);
    else answer.destroy();
    await reader.caughtUp?.();
    reader.end();
    this.settle(paid, answeredCall(reader.read, { ...paid, account: this.parts.account }));
    if (whole && reader.read.isWhole) this.passWhole(answer, whole);
    else
      throw noAnswer(
        'It may have billed the call: it is charged at its estimate, as unverified, until its cost is known.',
        'outcome_unknown',
      );
  }

  private async passStream(answer: IncomingMessage, reader: AnswerReader, paid: PaidFor): Promise<void> {
    const { log, account } = this.parts;
    const { response, requestId } = this.exchanged;
    response.writeHead(answer.statusCode ?? 200, this.headersOf(answer));
    response.flushHeaders();
    this.isStreaming = true;
    const end = await passOn(answer, response, { reader, idleMs: this.parts.idleMs ?? providerWaits.idleMs });
    await reader.caughtUp?.();
    const { isBetweenEvents } = reader.end();
    const { unread, isWhole } = reader.read;
    this.settle(paid, answeredCall(reader.read, { ...paid, account }));
    if (unread !== undefined) log.error({ ...keyOf(paid), error: unread }, 'an answer that passed could not be read');
    if (end === 'left') return;
    // What came to its end is whole, whatever became of the connection then.
    const isCut = unread === undefined ? !isWhole : end === 'cut';
    const saidItsLength = answer.headers['content-length'] !== undefined;
    if (isCut && isBetweenEvents && !saidItsLength) {
      const { error } = refusalOf(this.named(noAnswer('Its stream broke off.', 'outcome_unknown')), requestId);
      response.end(paid.call.errorEvent(error, reader.read));
    } else if (saidItsLength ? end === 'cut' : isCut) response.destroy();
    else response.end();
  }

  /** A provider's error, as it is; what must not be shown, in our words. What it means for money. */
  private async passError(answer: IncomingMessage): Promise<ErrorFacts> {
    const { wire, account } = this.parts;
    const { response, requestId } = this.exchanged;
    const body = await wholeAnswer(answer, { bytesMax: bytesMax.error, idleMs: providerWaits.freeMs });
    const { headers } = answer;
    const text = body && (await saidIn(answer, body, bytesMax.error));
    const said = text ? (wire.errorIn ?? errorSaidIn)(text) : {};
    const status = said.isOfKey ? 401 : (answer.statusCode ?? 500);
    const facts: ErrorFacts = {
      kind: 'status',
      status,
      type: said.type,
      requestId: (headers['request-id'] ?? headers['x-request-id'])?.toString(),
      retryAfter: headers['retry-after'] ?? said.retryAfter,
    };
    const failed = callFailure(facts, { outputBegan: false, nowMs: Date.now() });
    // Whose key is refused, what its account may, and where else an address leads, is nobody's business but the operator's.
    const isOurs = [401, 403, 429].includes(status) || (status >= 300 && status < 400);
    if (!body || !text || isOurs || text.includes(account.apiKey)) {
      const { retryAfterSeconds: retryAfter } = failed;
      const known = new ApiError(failed.code, failed.message, retryAfter === undefined ? {} : { retryAfter });
      refuse(response, wire, this.named(known), { requestId, status: status === 429 ? status : undefined });
    } else this.passWhole(answer, body, { isCharged: failed.billed === 'unknown' });
    return facts;
  }

  private passWhole(answer: IncomingMessage, body: Buffer, { isCharged = false } = {}): void {
    const { response } = this.exchanged;
    if (response.destroyed || response.headersSent) return;
    const headers = this.headersOf(answer, isCharged);
    if (answer.headers['content-length'] === undefined) headers.push('content-length', String(body.length));
    response.writeHead(answer.statusCode ?? 200, headers);
    response.end(body);
  }

  private headersOf(answer: IncomingMessage, isCharged = false): string[] {
    const { wire, account } = this.parts;
    const { ownHeaders } = wire;
    // What was charged is not tried again by itself, whatever its provider thinks of it.
    const left = isCharged ? ['x-should-retry'] : [];
    return [
      ...answeredHeaders(answer, { ownHeaders, apiKey: account.apiKey, left }),
      ...(isCharged ? ['x-should-retry', 'false'] : []),
      ...['x-spendlock-request-id', this.exchanged.requestId],
      ...(this.held ? [operationHeader, this.held.operationId] : []),
    ];
  }

  private async ask(
    url: URL,
    { method, body, answerMs, onSent }: Pick<ProviderRequest, 'method' | 'body' | 'answerMs' | 'onSent'>,
  ): Promise<IncomingMessage> {
    const { wire, account } = this.parts;
    const keyHeaders = wire.keyHeaders(account.apiKey);
    const base = (account.baseURL ?? wire.address).replace(/\/+$/, '');
    const isEmpty = method === 'GET';
    return askProvider({
      url: new URL(base + wire.pathOf(url.pathname) + url.search),
      method,
      headers: passedHeaders(this.exchanged.request.headers, { keyHeaders, bytes: isEmpty ? 0 : (body?.length ?? 0) }),
      ...(isEmpty ? {} : { body }),
      ...{ answerMs, gone: this.gone.signal, onSent },
    });
  }

  /** The provider's count of a prompt; undefined where it says none. */
  private async count({ path, body: counted, tokensIn }: CountRequest): Promise<unknown> {
    const bytes = Buffer.from(JSON.stringify(counted));
    try {
      const idleMs = providerWaits.freeMs;
      const asked = { method: 'POST', body: bytes, answerMs: idleMs };
      const answer = await this.ask(new URL(path, 'http://proxy'), asked);
      const whole = await wholeAnswer(answer, { bytesMax: bytesMax.error, idleMs });
      const text = whole && (await saidIn(answer, whole, bytesMax.error));
      return answer.statusCode === 200 && text ? tokensIn(JSON.parse(text.toString())) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Whatever is told of a call that was paid for says which one: its cost is looked up by that, and corrected. */
  private named<E>(error: E): E | ApiError {
    if (!this.held || !(error instanceof ApiError)) return error;
    return new ApiError(error.code, error.message, { operationId: this.held.operationId, ...error.more });
  }

  private settle(paid: PaidFor, priced: PricedAnswer): void {
    settle(paid, priced, this.parts);
  }
}
