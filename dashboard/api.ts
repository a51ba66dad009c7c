/** The API as the page asks it: answers, and views that stay live through a connection that breaks. */
import { useEffect, useState } from 'preact/hooks';
import type { z } from '@hono/zod-openapi';
import type { currentKeyView } from '../api/keys/schemas';
import type { MoneyRequestView } from '../api/money-requests/schemas';
import type { RunView, runSummary } from '../api/runs/schemas';
import type { OverviewView, tenantSummary } from '../api/tenants/overview-schemas';
import type { usageView } from '../api/usage/schemas';
import { SpendlockApiError } from '../client/errors';
import type { StreamEvent } from '../client/events';
import { connect, type Http } from '../client/http';

export type CurrentKey = z.infer<typeof currentKeyView>;
export type Overview = OverviewView;
export type Usage = z.infer<typeof usageView>;
export type Run = RunView;
export type MoneyRequest = MoneyRequestView;
export type RunSummary = z.infer<typeof runSummary>;
export type TenantSummary = Omit<z.infer<typeof tenantSummary>, 'createdAt'>;

/** How long an answer may take. */
const answerMs = 60_000;

export class Api {
  private readonly http: Http;

  constructor(
    apiKey: string,
    /** Called when the key is refused. */
    private readonly onRefused: () => void,
  ) {
    this.http = connect({ baseUrl: '', apiKey }, answerMs);
  }

  get<T>(path: string): Promise<T> {
    return this.http.get<T>(path).catch((error: unknown) => this.refused(error));
  }

  /** Sent under an Idempotency-Key: an answer that was lost is asked for again. */
  post<T>(path: string, body: object): Promise<T> {
    return this.http.post<T>(path, body).catch((error: unknown) => this.refused(error));
  }

  /** Events of a stream, taken up again when it breaks. Ends when the signal says so, or the API refuses. */
  async *events(path: string, signal: AbortSignal, onState: (isLive: boolean) => void): AsyncGenerator<StreamEvent> {
    try {
      yield* this.http.events(path, { signal, onState });
    } catch (error) {
      if (!signal.aborted) this.refused(error);
    }
  }

  private refused(error: unknown): never {
    if (error instanceof SpendlockApiError && error.status === 401) this.onRefused();
    throw error;
  }
}

/** What went wrong, and what the reader can do, in words. */
export function inWords(error: unknown): string {
  if (error instanceof SpendlockApiError) return [error.message, error.action].filter(Boolean).join(' ');
  return 'The API did not answer. Is it running?';
}

export interface Live<T> {
  value?: T;
  isLive: boolean;
  problem?: string;
}

/** What a stream tells last. */
export function useLive<T>(api: Api, path: string): Live<T> {
  const [live, setLive] = useState<Live<T>>({ isLive: false });
  useEffect(() => {
    const gone = new AbortController();
    const follow = async (): Promise<void> => {
      const events = api.events(path, gone.signal, (isLive) => setLive((was) => ({ ...was, isLive })));
      for await (const { data } of events) setLive({ value: data as T, isLive: true });
    };
    follow().catch((error: Error) => setLive((was) => ({ ...was, isLive: false, problem: inWords(error) })));
    return () => gone.abort();
  }, [path]);
  return live;
}
