/**
 * What an error of a provider's SDK means for money. Refused before any output: surely not billed. Anything that may have
 * reached the model without an answer: unknown, so the estimate is charged until its cost is known.
 */
import type { ErrorCode } from '../errors';

export type CallFailure =
  | { billed: 'no'; code: ErrorCode; message: string; retry: boolean; retryAfterSeconds?: number }
  | { billed: 'unknown'; code: 'outcome_unknown'; message: string; retryAfterSeconds?: undefined };

/** What can be told of an error, whichever SDK it comes from. */
export type ErrorFacts =
  /** `unreached`: there was no connection yet, so that nothing was sent. */
  | { kind: 'aborted' | 'timeout' | 'unreached' | 'other' }
  | { kind: 'connection'; error: unknown }
  | {
      kind: 'status';
      status: number | undefined;
      /** The provider's name for it. */
      type?: string | null | undefined;
      requestId?: string | null | undefined;
      /** Seconds, or a date. */
      retryAfter?: string | null | undefined;
    };

const unknown = (what: string): CallFailure => ({
  billed: 'unknown',
  code: 'outcome_unknown',
  message: `${what} Whether the provider billed it is unknown: the estimate is charged as unverified.`,
});

/** The status of errors that come as an event of a stream which was accepted: by type or code, as providers name them. */
const statusOfType: Partial<Record<string, number>> = {
  // Anthropic
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  overloaded_error: 529,
  // OpenAI
  rate_limit_exceeded: 429,
  insufficient_quota: 429,
  slow_down: 503,
  server_is_overloaded: 503,
  // Google
  INVALID_ARGUMENT: 400,
  FAILED_PRECONDITION: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  RESOURCE_EXHAUSTED: 429,
  UNAVAILABLE: 503,
};

/** The wait in a text such as "Please try again in 1m2.5s", in seconds. */
export function waitIn(text: string): string | undefined {
  const match = /try again in (?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)(ms|s))?/i.exec(text);
  if (!match) return undefined;
  const [, hours = 0, minutes = 0, rest = 0, unit] = match;
  const seconds = Number(hours) * 3_600 + Number(minutes) * 60 + Number(rest) / (unit === 'ms' ? 1_000 : 1);
  return seconds > 0 ? String(seconds) : undefined;
}

/** Connections that were never made: the request left no machine. */
const neverConnected = [
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
];

/** When an error came, and after what. */
export interface FailureMoment {
  /** Whether the provider had begun to answer: then nothing is free any more. */
  outputBegan: boolean;
  /** What was sent with it that not every provider takes. */
  brought?: readonly Brought[];
  nowMs: number;
}

export function callFailure(facts: ErrorFacts, moment: FailureMoment): CallFailure {
  if (moment.outputBegan) return unknown('The model call broke off before its usage was known.');
  switch (facts.kind) {
    case 'aborted':
      return unknown('The model call was stopped before it answered.');
    case 'timeout':
      return unknown('The model call got no answer in time.');
    case 'unreached':
      return unreached;
    case 'connection':
      return neverConnected.includes(causeCode(facts.error))
        ? unreached
        : unknown('The connection to the provider broke.');
    case 'status':
      return statusFailure(facts, moment);
    case 'other':
      return unknown('The provider answered something that is no answer.');
  }
}

const notBilled = (what: string): string => `${what}. Nothing was billed and the reservation was released.`;

const unreached: CallFailure = {
  billed: 'no',
  code: 'provider_unavailable',
  message: notBilled('The provider could not be reached'),
  retry: true,
};

const refusedFor = {
  file: 'the file that was sent with it may be one that it cannot read',
  tools: 'the schemas of the tools of its tenant may be ones that it does not take',
};
export type Brought = keyof typeof refusedFor;

function statusFailure(
  { type, requestId, retryAfter, ...facts }: ErrorFacts & { kind: 'status' },
  { nowMs, brought = [] }: FailureMoment,
): CallFailure {
  // An error event inside a stream that was accepted has no status of its own.
  const status = facts.status ?? statusOfType[type ?? ''] ?? 500;
  const overloaded = type === 'overloaded_error' || status === 529 || status === 503;
  // Type and request id only: the provider's text may quote the prompt.
  const said = `The provider answered ${status}${type ? ` (${type})` : ''}${requestId ? `, request ${requestId}` : ''}`;
  if (status === 401 || status === 403) {
    return {
      billed: 'no',
      code: 'provider_credentials',
      message: notBilled(`${said}: it does not accept the key`),
      retry: false,
    };
  }
  if (status >= 300 && status < 400) {
    const message = notBilled(
      `${said}: it leads elsewhere, which is not followed. Look at the address of the provider`,
    );
    return { billed: 'no', code: 'provider_unavailable', message, retry: true };
  }
  if (type === 'insufficient_quota') {
    return {
      billed: 'no',
      code: 'provider_refused',
      message: notBilled(`${said}: the account is out of credit`),
      retry: false,
    };
  }
  const seconds = retryAfterSeconds(retryAfter, nowMs);
  const wait = seconds === undefined ? {} : { retryAfterSeconds: seconds };
  if (overloaded || status === 429 || status === 408 || status === 409) {
    return { billed: 'no', code: 'provider_unavailable', message: notBilled(said), retry: true, ...wait };
  }
  if (status >= 400 && status < 500) {
    const maybe = brought.map((what) => refusedFor[what]).join(', or ');
    const hint = status === 404 ? ': it does not know the model' : maybe && `: ${maybe}`;
    return { billed: 'no', code: 'provider_refused', message: notBilled(said + hint), retry: false };
  }
  return unknown(`${said}.`);
}

function causeCode(error: unknown): string {
  let cause: unknown = error;
  for (let depth = 0; cause && depth < 6; depth += 1) {
    const { code, cause: inner } = cause as { code?: unknown; cause?: unknown };
    if (typeof code === 'string') return code;
    cause = inner;
  }
  return '';
}

/** The wait that the provider asks for, in seconds; it may be a number or a date. At most a day. */
function retryAfterSeconds(asked: string | null | undefined, nowMs: number): number | undefined {
  if (!asked) return undefined;
  const seconds = /^\d+(\.\d+)?$/.test(asked) ? Number(asked) : (Date.parse(asked) - nowMs) / 1000;
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(Math.ceil(seconds), 86_400) : undefined;
}
