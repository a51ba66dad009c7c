/** The API as the page asks it: answers, and views that stay live through a connection that breaks. */
import { useEffect, useState } from 'preact/hooks';
import type { z } from '@hono/zod-openapi';
import type { currentKeyView, OverviewView, RunView, runSummary, tenantSummary } from '../api/http/schemas';
import { Patience, streamSilentMs } from '../client/patience';

export type CurrentKey = z.infer<typeof currentKeyView>;
export type Overview = OverviewView;
export type Run = RunView;
export type RunSummary = z.infer<typeof runSummary>;
export type TenantSummary = Omit<z.infer<typeof tenantSummary>, 'createdAt'>;

/** How long an answer may take. */
const answerMs = 60_000;

/** The API said no, in words for the reader. */
export class ApiRefusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export class Api {
  constructor(
    private readonly apiKey: string,
    /** Called when the key is refused. */
    private readonly onRefused: () => void,
  ) {}

  async get<T>(path: string): Promise<T> {
    return (await (await this.ask(path)).json()) as T;
  }

  /** Events of a stream, again from the start when it breaks. Ends when the signal says so, or the API refuses. */
  async *events(path: string, signal: AbortSignal, onState: (isLive: boolean) => void): AsyncGenerator<StreamEvent> {
    for (let failures = 0; !signal.aborted;) {
      const patience = new Patience(streamSilentMs, signal);
      try {
        const { body } = await this.ask(path, patience.signal);
        onState(true);
        for await (const event of body ? readEvents(patience.of(body)) : []) {
          failures = 0;
          yield event;
          if (event.type === 'done') return;
        }
      } catch (error) {
        if (error instanceof ApiRefusal && error.status < 500 && error.status !== 429) throw error;
      } finally {
        patience.end();
      }
      if (signal.aborted) return;
      onState(false);
      failures += 1;
      await new Promise((resolve) => setTimeout(resolve, Math.min(500 * 2 ** failures, 10_000)));
    }
  }

  private async ask(path: string, signal = AbortSignal.timeout(answerMs)): Promise<Response> {
    const headers = { authorization: `Bearer ${this.apiKey}` };
    const response = await fetch(path, { headers, signal });
    if (response.ok) return response;
    if (response.status === 401) this.onRefused();
    const { message = `The API answered ${response.status}.`, action = '' } = (await response
      .json()
      .catch(() => ({}))) as { message?: string; action?: string };
    throw new ApiRefusal(response.status, `${message} ${action}`.trim());
  }
}

export interface StreamEvent {
  type: string;
  data: unknown;
}

async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<StreamEvent> {
  let text = '';
  for await (const piece of body.pipeThrough(new TextDecoderStream() as never) as unknown as AsyncIterable<string>) {
    const blocks = `${text}${piece}`.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const type = /^event: (.*)$/m.exec(block)?.[1];
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (type !== undefined && data !== undefined) yield { type, data: JSON.parse(data) };
    }
  }
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
    follow().catch((error: Error) => setLive((was) => ({ ...was, isLive: false, problem: error.message })));
    return () => gone.abort();
  }, [path]);
  return live;
}
