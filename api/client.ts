/**
 * The typed client of the API.
 *
 *   const spendlock = createSpendlockClient({ baseUrl: 'http://127.0.0.1:8088', apiKey });
 *   const { runId } = await spendlock.startRun({ task: 'Summarise the file', file: { name: 'a.csv', content } });
 *   for await (const event of spendlock.events(runId)) console.log(event.type);
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from '@hono/zod-openapi';
import { given } from './given';
import type { quotaView, runView, setQuotasBody, usageView } from './schemas';

/** The API said no. `code` is one of docs/errors.md. */
export class SpendlockApiError extends Error {
  override readonly name = 'SpendlockApiError';
  constructor(
    readonly code: string,
    readonly status: number,
    message: string,
    readonly body: Record<string, unknown>,
  ) {
    super(message);
  }
  /** When to try again, if the API said so. */
  get retryAfterSeconds(): number | undefined {
    return typeof this.body.retryAfter === 'number' ? this.body.retryAfter : undefined;
  }
}

export interface StartRun {
  task: string;
  tenantId?: string;
  userId?: string;
  model?: string;
  file?: { name: string; content: Uint8Array };
  limits?: { maxSteps?: number; maxCostUsd?: string; timeoutSeconds?: number; maxOutputTokens?: number };
  sandbox?: { tier?: string; windowSeconds?: number };
  /** Repeating a start with the same key never starts a second run. Made up when absent. */
  idempotencyKey?: string;
}

export interface RunStreamEvent {
  /** Its number in the run; absent on the last two of a stream. */
  id?: number;
  type: string;
  data: Record<string, unknown>;
}

export type RunView = z.infer<typeof runView>;
export type QuotaView = z.infer<typeof quotaView>;
export type UsageView = z.infer<typeof usageView>;
export interface TenantQuotas {
  tenantId: string;
  quotas: QuotaView[];
}

/** Money that a call outside Temporal asks for. Amounts are decimal strings of US dollars. */
export interface ReserveMoney {
  resource: 'llm' | 'e2b';
  amountUsd: string;
  /** The least of use: when less than all is left, that is granted. */
  minimumUsd?: string;
  ttlSeconds?: number;
  /** What running out without a word means: nothing was billed, or the amount is charged as unverified. */
  onExpiry?: 'release' | 'settle';
  tenantId?: string;
  userId?: string;
  kind?: string;
  model?: string;
  /** Made up when absent. Asking again under the same id gets the same answer. */
  operationId?: string;
}

export interface MoneyGrant {
  operationId: string;
  decision: 'granted';
  grantedUsd: string;
  partial: boolean;
  /** Absent when there is no reservation that could run out. */
  expiresAt?: string;
  /** Let through without a grant, by the tenant's policy. */
  unreserved?: true;
}

/** What a call cost. */
export interface MoneySpent {
  costUsd: string;
  usage?: unknown;
  tenantId?: string;
  /** What the call was, when it was made without a reservation. Taken from tenants whose policy is `allow`. */
  unreserved?: Pick<ReserveMoney, 'resource' | 'userId' | 'kind' | 'model'>;
}

/** How long a cost that nobody takes is sent again. */
const recordingPatienceMs = 600_000;

/** Thrown by the work of `withReservation` to say that its call was surely not billed. */
export class NotBilledError extends Error {
  override readonly name = 'NotBilledError';
}

export interface SpendlockClientOptions {
  baseUrl: string;
  apiKey: string;
}

export type SpendlockClient = ReturnType<typeof createSpendlockClient>;

export function createSpendlockClient({ baseUrl, apiKey }: SpendlockClientOptions) {
  const headers = { authorization: `Bearer ${apiKey}` };

  async function call<T>(method: string, path: string, body?: unknown, more: Record<string, string> = {}): Promise<T> {
    const response = await fetch(`${baseUrl}${path}`, {
      method,
      headers: { ...headers, ...more, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw await errorOf(response);
    return (await response.json()) as T;
  }
  const tenantQuery = (tenantId?: string): string =>
    tenantId === undefined ? '' : `?tenantId=${encodeURIComponent(tenantId)}`;

  const reservation = (operationId: string, verb: string): string => `/v1/reservations/${operationId}/${verb}`;
  /** A request that is the same however often it is sent: sent again when its answer was lost. */
  async function insist<T>(send: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await send();
      } catch (error) {
        if (error instanceof SpendlockApiError || attempt >= 4) throw error;
        await sleep(100 * 2 ** attempt);
      }
    }
  }
  /** Money that is spent already has to be recorded, however long the API is away, up to ten minutes. */
  async function insistForLong<T>(send: () => Promise<T>): Promise<T> {
    for (const giveUpMs = performance.now() + recordingPatienceMs; ; await sleep(1_000)) {
      try {
        return await send();
      } catch (error) {
        if (!isUnavailable(error) || performance.now() > giveUpMs) throw error;
      }
    }
  }
  const reserve = ({ operationId = randomUUID(), ...asked }: ReserveMoney): Promise<MoneyGrant> =>
    insist(() => call<MoneyGrant>('POST', '/v1/reservations', { operationId, ...asked }));
  const commit = (operationId: string, outcome: MoneySpent): Promise<object> =>
    insist(() => call<object>('POST', reservation(operationId, 'commit'), outcome));
  const release = (operationId: string, more: { tenantId?: string } = {}): Promise<object> =>
    insist(() => call<object>('POST', reservation(operationId, 'release'), more));

  return {
    /** Asks for money. @throws SpendlockApiError `quota_exceeded` with `retryAfterSeconds`, among others. */
    reserve,
    /** Records what a call cost. */
    commit,
    /** Gives a reservation up: its call was not made, or surely not billed. */
    release,
    /** Holds a reservation for at least so long from now. */
    extend: (operationId: string, order: { ttlSeconds: number; tenantId?: string }) =>
      call<{ expiresAt: string }>('POST', reservation(operationId, 'extend'), order),
    /**
     * Makes one paid call with a grant: reserves, works, commits what the work says it cost. A `NotBilledError` releases;
     * after any other error nobody knows, and the grant is charged as unverified when it runs out, unless its cost is
     * committed before.
     *
     * With `onUnavailable: 'allow'` the call is made without a grant when nobody answers, and its cost recorded as soon as
     * somebody does. Until then this process alone knows it.
     */
    async withReservation<T>(
      { onUnavailable = 'fail', ...asked }: ReserveMoney & { onUnavailable?: 'fail' | 'allow' },
      work: (grant: MoneyGrant) => Promise<{ costUsd: string; usage?: unknown; value: T }>,
    ): Promise<T> {
      const grant = await reserve({ onExpiry: 'settle', ...asked }).catch((error: unknown) => {
        if (onUnavailable === 'allow' && isUnavailable(error)) return grantWithoutReservation(asked);
        throw error;
      });
      const tenant = asked.tenantId === undefined ? {} : { tenantId: asked.tenantId };
      let done;
      try {
        done = await work(grant);
      } catch (error) {
        if (error instanceof NotBilledError) await release(grant.operationId, tenant);
        throw error;
      }
      const { costUsd, usage, value } = done;
      const spent = { costUsd, ...(usage === undefined ? {} : { usage }), ...tenant };
      if (grant.unreserved) {
        const { resource, userId, kind, model } = asked;
        const unreserved = { resource, ...given({ userId, kind, model }) };
        await insistForLong(() => commit(grant.operationId, { ...spent, unreserved }));
      } else await commit(grant.operationId, spent);
      return value;
    },
    /** Makes a tenant. Its API key is in the answer, and nowhere else. */
    createTenant: (tenant: { tenantId: string; name?: string }) =>
      call<TenantQuotas & { apiKey: string }>('POST', '/v1/tenants', tenant, { 'idempotency-key': randomUUID() }),
    getQuotas: (tenantId: string) => call<TenantQuotas>('GET', `/v1/tenants/${encodeURIComponent(tenantId)}/quotas`),
    setQuotas: (tenantId: string, quotas: z.input<typeof setQuotasBody>['quotas']) =>
      call<TenantQuotas>('PUT', `/v1/tenants/${encodeURIComponent(tenantId)}/quotas`, { quotas }),
    /** Starts a run. @throws SpendlockApiError `quota_exceeded` when nothing is left, among others. */
    startRun: ({ idempotencyKey = randomUUID(), file, ...run }: StartRun) =>
      call<{ runId: string; workflowId: string; status: 'running' }>(
        'POST',
        '/v1/runs',
        {
          ...run,
          ...(file ? { file: { name: file.name, contentBase64: Buffer.from(file.content).toString('base64') } } : {}),
        },
        { 'idempotency-key': idempotencyKey },
      ),
    getRun: (runId: string, tenantId?: string) => call<RunView>('GET', `/v1/runs/${runId}${tenantQuery(tenantId)}`),
    cancelRun: (runId: string, tenantId?: string) =>
      call<{ runId: string; status: string }>('POST', `/v1/runs/${runId}/cancel${tenantQuery(tenantId)}`),
    usage: (query: Record<string, string> = {}) =>
      call<UsageView>('GET', `/v1/usage?${new URLSearchParams(query).toString()}`),
    /** A run's events to its end. A broken connection is taken up again after the last event that was seen. */
    async *events(
      runId: string,
      { tenantId, signal }: { tenantId?: string; signal?: AbortSignal } = {},
    ): AsyncGenerator<RunStreamEvent> {
      let lastId = 0;
      for (let failures = 0; ;) {
        try {
          const response = await fetch(`${baseUrl}/v1/runs/${runId}/events${tenantQuery(tenantId)}`, {
            headers: { ...headers, ...(lastId > 0 ? { 'last-event-id': String(lastId) } : {}) },
            ...(signal ? { signal } : {}),
          });
          if (!response.ok || !response.body) throw await errorOf(response);
          for await (const event of readEvents(response.body)) {
            failures = 0;
            if (event.id !== undefined) lastId = event.id;
            yield event;
            if (event.type === 'done') return;
          }
        } catch (error) {
          if (error instanceof SpendlockApiError || signal?.aborted) throw error;
        }
        failures += 1;
        await sleep(Math.min(200 * 2 ** failures, 5_000));
      }
    },
  };
}

/** Nobody answered, or said that nobody is there to decide. */
const isUnavailable = (error: unknown): boolean => !(error instanceof SpendlockApiError) || error.status === 503;

/** A new operation id: the one that was asked under may have been denied without anybody hearing of it. */
const grantWithoutReservation = ({ amountUsd }: ReserveMoney): MoneyGrant => ({
  operationId: randomUUID(),
  decision: 'granted',
  grantedUsd: amountUsd,
  partial: false,
  unreserved: true,
});

async function errorOf(response: Response): Promise<SpendlockApiError> {
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const code = typeof body.error === 'string' ? body.error : 'internal';
  const message = typeof body.message === 'string' ? body.message : `The API answered ${response.status}.`;
  return new SpendlockApiError(code, response.status, message, body);
}

/** Reads a stream of server-sent events. */
async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<RunStreamEvent> {
  const decoder = new TextDecoder();
  let buffered = '';
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    buffered += decoder.decode(chunk, { stream: true });
    for (let end = buffered.indexOf('\n\n'); end >= 0; end = buffered.indexOf('\n\n')) {
      const block = buffered.slice(0, end);
      buffered = buffered.slice(end + 2);
      const fields = Object.fromEntries(
        block.split('\n').flatMap((line) => {
          const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
          return name === undefined ? [] : [[name, value ?? '']];
        }),
      ) as Record<string, string>;
      if (fields.data === undefined) continue;
      yield {
        ...(fields.id === undefined ? {} : { id: Number(fields.id) }),
        type: fields.event ?? 'message',
        data: JSON.parse(fields.data) as Record<string, unknown>,
      };
    }
  }
}
