/** One request that is passed on, from its money to the last byte of its answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { callFailure, type ErrorFacts } from '../../core/prices/call-failures';
import { formatUsd } from '../../core/money';
import type { ModelPrice } from '../../core/prices/prices';
import { isRecord } from '../../core/prices/usage';
import type { Pool } from '../../store/pool';
import type { ModelAccount } from '../../temporal/model-accounts';
import type { Logger } from '../../telemetry/log';
import { countModelCall } from '../../telemetry/metrics';
import { ApiError } from '../http/errors';
import type { Prices } from '../http/lookups';
import { askedIn } from './body';
import { boundOf, priceOf } from './bound';
import type { ProxyCaller } from './keys';
import type { Held, ProxyMoney } from './money';
import { answeredCall, failedCall, notSent, type PricedAnswer } from './outcome';
import { passOn } from './pass';
import { answeredHeaders, askProvider, passedHeaders, ProviderSilence, providerWaits, wholeAnswer } from './provider';
import { refusalOf, refuse } from './refusals';
import type { AnswerReader, Wire } from './wire';

/** Errors are short, and an answer that comes whole is not passed on before it is known to be one. */
const bytesMax = { error: 1024 * 1024, whole: 64 * 1024 * 1024 };

export interface ExchangeParts {
  pool: Pool;
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

/** A call that its money is held for. */
interface PaidFor {
  held: Held;
  price: ModelPrice;
  prices: readonly ModelPrice[];
  startedMs: number;
  isSettled: boolean;
}

export class Exchange {
  private readonly gone = new AbortController();

  constructor(
    private readonly parts: ExchangeParts,
    private readonly exchanged: Exchanged,
  ) {
    const { response } = exchanged;
    if (response.destroyed) this.gone.abort();
    response.once('close', () => {
      if (!response.writableFinished) this.gone.abort();
    });
  }

  /** What its provider answers for nothing: asked, and what is left to do. @throws ApiError. */
  async free(bytes: Buffer): Promise<() => Promise<void>> {
    const { request, url } = this.exchanged;
    const asking = this.ask(url, request.method ?? 'GET', bytes, providerWaits.freeMs);
    const answer = await asking.catch((error: unknown) => {
      throw silence(error);
    });
    return () => this.passFree(answer);
  }

  private async passFree(answer: IncomingMessage): Promise<void> {
    if ((answer.statusCode ?? 0) >= 300) return void (await this.passError(answer));
    const whole = await wholeAnswer(answer, { bytesMax: bytesMax.whole, idleMs: providerWaits.freeMs });
    if (!whole || !isJson(answer)) throw noAnswer('A page, or a part of an answer, came in its place.');
    this.passWhole(answer, whole);
  }

  /** A call of a model: paid for and sent, and what is left to do. @throws ApiError, or Denied. */
  async call(bytes: Buffer): Promise<() => Promise<void>> {
    const paid = await this.pay(askedIn(bytes));
    try {
      const answer = await this.ask(this.exchanged.url, 'POST', bytes, providerWaits.answerMs);
      return () => this.passPaid(answer, paid);
    } catch (error) {
      // Any other error comes before anything is sent.
      const isSent = error instanceof ProviderSilence;
      this.settle(paid, isSent ? failedCall(error.facts, { outputBegan: false }) : notSent);
      throw silence(error);
    }
  }

  private async pay(body: Record<string, unknown>): Promise<PaidFor> {
    const { wire, money, pool } = this.parts;
    const { caller } = this.exchanged;
    const { models: prices } = await this.parts.prices.list();
    const price = priceOf(wire, body, prices);
    const asked = wire.ask(body, price, this.parts.account);
    const amountUsd = await boundOf(pool, { caller, price, asked, count: () => this.count(body) });
    const held = await money.hold(caller, { price, amountUsd, gone: this.gone.signal });
    return { held, price, prices, startedMs: performance.now(), isSettled: false };
  }

  private async passPaid(answer: IncomingMessage, paid: PaidFor): Promise<void> {
    try {
      await this.passCall(answer, paid);
    } finally {
      // Whatever went wrong here: its provider was asked, and nobody knows what it billed.
      if (!paid.isSettled) this.settle(paid, failedCall({ kind: 'other' }, { outputBegan: true }));
      if (!answer.complete) answer.destroy();
    }
  }

  private async passCall(answer: IncomingMessage, paid: PaidFor): Promise<void> {
    const { wire } = this.parts;
    if ((answer.statusCode ?? 0) >= 300) {
      const facts = await this.passError(answer);
      return this.settle(paid, failedCall(facts, { outputBegan: false }));
    }
    const reader = wire.reader(typeOf(answer));
    if (isStream(answer)) return this.passStream(answer, reader, paid);
    const idleMs = this.parts.idleMs ?? providerWaits.idleMs;
    const whole = isJson(answer) ? await wholeAnswer(answer, { bytesMax: bytesMax.whole, idleMs }) : undefined;
    if (whole) reader.push(whole);
    else answer.destroy();
    reader.end();
    this.settle(paid, answeredCall(this.parts, reader.read, paid));
    if (whole && reader.read.isWhole) this.passWhole(answer, whole, paid.held);
    else
      throw noAnswer(
        'It may have billed the call: it is charged at its estimate, as unverified, until its cost is known.',
        'outcome_unknown',
      );
  }

  private async passStream(answer: IncomingMessage, reader: AnswerReader, paid: PaidFor): Promise<void> {
    const { wire } = this.parts;
    const { response, requestId } = this.exchanged;
    response.writeHead(answer.statusCode ?? 200, this.headersOf(answer, paid.held));
    response.flushHeaders();
    const end = await passOn(answer, response, { reader, idleMs: this.parts.idleMs ?? providerWaits.idleMs });
    const { isBetweenEvents } = reader.end();
    this.settle(paid, answeredCall(this.parts, reader.read, paid));
    if (end === 'left') return;
    const isCut = end === 'cut' || !reader.read.isWhole;
    const mayAdd = isBetweenEvents && answer.headers['content-length'] === undefined;
    if (isCut && mayAdd) {
      const { error } = refusalOf(noAnswer('Its stream broke off.', 'outcome_unknown'), requestId);
      response.end(wire.errorEvent(error));
    } else if (end === 'cut') response.destroy();
    else response.end();
  }

  /** A provider's error, as it is; what must not be shown, in our words. What it means for money. */
  private async passError(answer: IncomingMessage): Promise<ErrorFacts> {
    const { wire, account } = this.parts;
    const { response, requestId } = this.exchanged;
    const status = answer.statusCode ?? 500;
    const body = await wholeAnswer(answer, { bytesMax: bytesMax.error, idleMs: providerWaits.freeMs });
    const { headers } = answer;
    const facts: ErrorFacts = {
      kind: 'status',
      status,
      type: errorTypeOf(body),
      requestId: headers['request-id']?.toString(),
      retryAfter: headers['retry-after'],
    };
    const failed = callFailure(facts, { outputBegan: false, nowMs: Date.now() });
    // Whose key is refused, and where else an address leads, is nobody's business but the operator's.
    const isOurs = status === 401 || status === 403 || (status >= 300 && status < 400);
    if (!body || isOurs || body.includes(account.apiKey))
      refuse(response, wire, new ApiError(failed.code, failed.message), requestId);
    else this.passWhole(answer, body);
    return facts;
  }

  private passWhole(answer: IncomingMessage, body: Buffer, held?: Held): void {
    const { response } = this.exchanged;
    if (response.destroyed || response.headersSent) return;
    const headers = this.headersOf(answer, held);
    if (answer.headers['content-length'] === undefined) headers.push('content-length', String(body.length));
    response.writeHead(answer.statusCode ?? 200, headers);
    response.end(body);
  }

  private headersOf(answer: IncomingMessage, held?: Held): string[] {
    const { wire, account } = this.parts;
    const { ownHeaders } = wire;
    return [
      ...answeredHeaders(answer, { ownHeaders, apiKey: account.apiKey }),
      ...['x-spendlock-request-id', this.exchanged.requestId],
      ...(held ? ['x-spendlock-operation-id', held.operationId] : []),
    ];
  }

  private ask(url: URL, method: string, body: Buffer | undefined, answerMs: number): Promise<IncomingMessage> {
    const { wire, account } = this.parts;
    const keyHeaders = wire.keyHeaders(account.apiKey);
    const base = (account.baseURL ?? wire.address).replace(/\/+$/, '');
    const isEmpty = method === 'GET';
    return askProvider({
      url: new URL(base + wire.pathOf(url.pathname) + url.search),
      method,
      headers: passedHeaders(this.exchanged.request.headers, { keyHeaders, bytes: isEmpty ? 0 : (body?.length ?? 0) }),
      ...(isEmpty ? {} : { body }),
      ...{ answerMs, gone: this.gone.signal, onSent: this.exchanged.onSent },
    });
  }

  /** The provider's count of a prompt; undefined where it says none. */
  private async count(body: Record<string, unknown>): Promise<unknown> {
    const { wire } = this.parts;
    const { path, body: counted, tokensIn } = wire.countOf(body);
    const bytes = Buffer.from(JSON.stringify(counted));
    try {
      const answer = await this.ask(new URL(path, 'http://proxy'), 'POST', bytes, providerWaits.freeMs);
      const idleMs = providerWaits.freeMs;
      const whole = await wholeAnswer(answer, { bytesMax: bytesMax.error, idleMs });
      return answer.statusCode === 200 && whole ? tokensIn(JSON.parse(whole.toString())) : undefined;
    } catch {
      return undefined;
    }
  }

  private settle(paid: PaidFor, { outcome, counted, usage }: PricedAnswer): void {
    const { held, price, startedMs } = paid;
    paid.isSettled = true;
    const { money, log, wire } = this.parts;
    const { model } = price;
    const { tenantId, operationId } = held;
    money.settle(held, outcome);
    const seconds = (performance.now() - startedMs) / 1000;
    countModelCall({ provider: wire.provider, model, kind: 'llm.call', seconds, outcome: counted, usage });
    const costUsd = outcome.billed === 'known' ? formatUsd(outcome.costUsd) : undefined;
    const said = {
      tenantId,
      operationId,
      model,
      seconds,
      billed: outcome.billed,
      ...(costUsd === undefined ? {} : { costUsd }),
    };
    log.info(said, 'a model call was passed on');
  }
}

/** What its client is told where its provider said nothing. */
function silence(error: unknown): unknown {
  if (!(error instanceof ProviderSilence)) return error;
  const { code, message } = callFailure(error.facts, { outputBegan: false, nowMs: Date.now() });
  return new ApiError(code, message);
}

const typeOf = ({ headers }: IncomingMessage): string => headers['content-type'] ?? '';
const isStream = (answer: IncomingMessage): boolean => /^text\/event-stream\b/i.test(typeOf(answer));
const isJson = (answer: IncomingMessage): boolean => /^application\/([\w.-]+\+)?json\b/i.test(typeOf(answer));

const noAnswer = (more: string, code: 'provider_unavailable' | 'outcome_unknown' = 'provider_unavailable'): ApiError =>
  new ApiError(code, `The provider gave no answer that could be passed on. ${more}`);

/** The provider's name for an error, for what it means. */
function errorTypeOf(body: Buffer | undefined): string | undefined {
  try {
    const said: unknown = JSON.parse(body?.toString() ?? '');
    const error = isRecord(said) ? said.error : undefined;
    return isRecord(error) && typeof error.type === 'string' ? error.type : undefined;
  } catch {
    return undefined;
  }
}
