/** What is wrong, as Google says it, and what it says so. */
import { isRecord } from '../../../core/prices/usage';
import { objectFrom } from '../json';
import type { ErrorSaid, WireError } from '../wire';

const statuses: Partial<Record<number, string>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  409: 'ABORTED',
  413: 'INVALID_ARGUMENT',
  415: 'INVALID_ARGUMENT',
  429: 'RESOURCE_EXHAUSTED',
  502: 'UNKNOWN',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
};

const typed = (name: string, of: object): object => ({ '@type': `type.googleapis.com/google.rpc.${name}`, ...of });

/** How long to wait is no header to Google's clients, but a detail. */
export function errorOf({ status: code, message, requestId, spendlock, retryAfterSeconds }: WireError): object {
  const status = statuses[code] ?? (code < 500 ? 'FAILED_PRECONDITION' : 'INTERNAL');
  const details = [
    typed('ErrorInfo', { reason: String(spendlock.error).toUpperCase(), domain: 'spendlock' }),
    typed('RequestInfo', { requestId }),
    ...(retryAfterSeconds === undefined ? [] : [typed('RetryInfo', { retryDelay: `${retryAfterSeconds}s` })]),
  ];
  return { error: { code, message, status, details, spendlock } };
}

/** Its status is Google's name for what is wrong. A key that it does not take is a wrong request to it. */
export function errorSaidIn(body: Buffer): ErrorSaid {
  const { error } = objectFrom(body.toString()) ?? {};
  if (!isRecord(error)) return {};
  const details = Array.isArray(error.details) ? (error.details as unknown[]).filter(isRecord) : [];
  const delay = details.map(({ retryDelay }) => retryDelay).find((one) => typeof one === 'string');
  const seconds = /^(\d+(?:\.\d+)?)s$/.exec(delay ?? '')?.[1];
  return {
    ...(typeof error.status === 'string' ? { type: error.status } : {}),
    ...(seconds === undefined ? {} : { retryAfter: seconds }),
    ...(details.some(({ reason }) => reason === 'API_KEY_INVALID') ? { isOfKey: true } : {}),
  };
}
