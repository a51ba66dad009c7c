/**
 * What a provider's protocol is to the proxy: where its keys travel, which of its requests are passed on, what a call can cost at most,
 * how its answers tell what they used, and how it says that something is wrong.
 */
import type { ModelPrice } from '../../core/prices/prices';
import type { PlannedCall } from '../../core/prices/pricing';
import type { ModelUsage } from '../../core/prices/usage';
import type { ModelAccount, ModelProviderName } from '../../temporal/model-accounts';

/** A call as its request asks for it. */
export interface AskedCall {
  maxOutputTokens: number;
  /** The field that would say less, where the request says nothing of it: its answer is reserved at the longest that there is. */
  openField?: string;
  /** The prompt's tokens at most, as far as they can be told from its bytes. */
  inputTokens: number;
  /** Something in it only its provider can count: an image, a file. */
  mustBeCounted: boolean;
  /** What its price depends on beside its tokens. */
  planned: Omit<PlannedCall, 'inputTokens'>;
  isStream: boolean;
  /** How long an answer that comes whole can be, where that is no matter of its tokens. */
  answerBytes?: number;
}

/** What an answer says of itself, read from the side while it passes. */
export interface AnswerRead {
  /** As the provider writes it. */
  usage?: unknown;
  /** Whether it came with, or after, the end of the content. */
  usageIsFinal: boolean;
  /** Something was generated: from there on nothing is free any more. */
  outputBegan: boolean;
  /** Why `usage` cannot be all that is billed, although it is final. */
  doubt?: string;
  /** The provider counted what `usage` says and bills nothing of it. */
  isNotBilled?: boolean;
  /** The provider's name for the error that it ended its answer with. */
  errorType?: string;
  /** The answer came to its end, as its protocol has it. */
  isWhole: boolean;
  /** The number of the last event that passed, where its protocol counts them. */
  sequence?: number;
  /** Why it could not be read on: nothing that is said here is all. */
  unread?: unknown;
}

export interface AnswerReader {
  readonly read: AnswerRead;
  /** A part of it that passed. */
  push(part: Buffer): void;
  /** Resolves once all that was pushed is read, where that takes a while. Nothing more may be pushed. */
  caughtUp?(): Promise<void>;
  /** Nothing more comes. Whether it stopped between two events, where something may be added. */
  end(): { isBetweenEvents: boolean };
}

/** What is wrong, in a provider's words. */
export interface WireError {
  status: number;
  message: string;
  requestId: string;
  /** For programs that know Spendlock: its code, and the quota that stood in the way. */
  spendlock: Record<string, unknown>;
  /** For protocols that say it in the body too. */
  retryAfterSeconds?: number | undefined;
}

/** What an error of a provider says of itself. */
export interface ErrorSaid {
  /** The provider's name for it. */
  type?: string;
  /** Seconds to wait, where its body has them. */
  retryAfter?: string;
  /** It does not take the key, whatever its status says. */
  isOfKey?: boolean;
}

/** A prompt, to be counted. */
export interface CountRequest {
  path: string;
  body: object;
  tokensIn: (answer: unknown) => unknown;
}

/** One kind of call, which is paid for. */
export interface CallWire {
  /** What OpenTelemetry's conventions call it, where it is no chat. */
  operation?: 'embeddings';
  /** The model that is asked for. @throws ApiError where the request contradicts itself. */
  modelOf(body: Record<string, unknown>): unknown;
  /** @throws ApiError for what nobody can bound, by its name; UnpricedUsageError for what has no price. */
  ask(body: Record<string, unknown>, price: ModelPrice, account: ModelAccount): AskedCall;
  /** The request by which its provider counts the prompt, for nothing. Absent where it counts none: then what can be told from its bytes holds. */
  countOf?: (body: Record<string, unknown>) => CountRequest;
  reader(isStream: boolean): AnswerReader;
  /** @throws UsageError when the report cannot be billed. */
  usageOf(read: AnswerRead, price: ModelPrice, account: ModelAccount): ModelUsage;
  /** What is wrong, as an event of its stream that was begun. */
  errorEvent(error: WireError, read: AnswerRead): string;
}

/** What is passed on. */
export type Passed =
  | { type: 'call'; call: CallWire }
  /**
   * What its provider answers for nothing.
   * @throws ApiError in `check` for what is not even counted: what is kept at the account of all, or is fetched from elsewhere.
   */
  | { type: 'free'; check?: (body: Record<string, unknown>) => void };

export interface Wire {
  /** As prices name it; also the first part of its paths. */
  provider: ModelProviderName;
  name: string;
  /** Where its API is unless its account says otherwise: what its SDK has as its base URL. */
  address: string;
  /** The key that a client of its SDK sends. */
  keyIn(headers: Record<string, string | string[] | undefined>, query: URLSearchParams): string | undefined;
  /** Its headers that say whose request it is: they are replaced by these. */
  keyHeaders(apiKey: string): Record<string, string>;
  /** Headers that it answers about the account, which are nobody's business here. */
  ownHeaders: RegExp;
  /** Its path below its address. */
  pathOf(path: string): string;
  /** What of the query of its address is passed on; all of it where there is no such method. @throws ApiError for what is not known. */
  queryOf?: (query: URLSearchParams) => string;
  /** @throws ApiError for what is wrong in the address already. */
  passes(method: string, path: string, query: URLSearchParams): Passed | undefined;
  /** Why something that it has is not passed on; undefined where it is not known. */
  whyNot(path: string): string | undefined;
  error(error: WireError): object;
  /** What an error of its own says, where that is not in `error.type`. */
  errorIn?: (body: Buffer) => ErrorSaid;
}
