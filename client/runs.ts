/** Tasks of an agent. */
import type { z } from '@hono/zod-openapi';
import type { runsQuery, runsView, runView, startRunBody } from '../api/runs/schemas';
import type { transcriptView } from '../api/runs/transcripts';
import type { StreamEvent } from './events';
import type { Http, RequestOptions } from './http';

export type RunView = z.infer<typeof runView>;
export type RunsView = z.infer<typeof runsView>;
export type RunsQuery = Omit<z.input<typeof runsQuery>, 'limit'> & { limit?: number };
export interface AttachedFile {
  name: string;
  content: Uint8Array;
}
export type StartRun = Omit<z.input<typeof startRunBody>, 'file'> & { file?: AttachedFile } & Pick<
    RequestOptions,
    'idempotencyKey'
  >;

/** Bytes in base64; Node and browsers have this one way in common. */
const inBase64 = (bytes: Uint8Array): string => {
  const piece = 0x8000;
  let text = '';
  for (let from = 0; from < bytes.length; from += piece)
    text += String.fromCharCode(...bytes.subarray(from, from + piece));
  return btoa(text);
};

/** A body with its file as it travels. */
export const withFile = <T extends object>({ file, ...rest }: T & { file?: AttachedFile }): object => ({
  ...rest,
  ...(file ? { file: { name: file.name, contentBase64: inBase64(file.content) } } : {}),
});

/** How long nothing of a file may come. */
const fileSilentMs = 60_000;

/** A file as it comes. */
export const fileAt = (http: Http, path: string, tenantId?: string): Promise<ReadableStream<Uint8Array>> =>
  http.body(tenantId === undefined ? path : `${path}?tenantId=${encodeURIComponent(tenantId)}`, fileSilentMs);

export type RunTranscript = z.infer<typeof transcriptView>;

export function runsOf(http: Http) {
  return {
    /** Starts a run. @throws QuotaExceededError when nothing is left, among others. */
    start: ({ idempotencyKey, ...run }: StartRun) =>
      http.post<{ runId: string; workflowId: string; status: 'running' }>('/v1/runs', withFile(run), {
        idempotencyKey,
      }),
    /** Tasks, or with `type: 'conversation'` conversations; the newest first. */
    list: (query: RunsQuery = {}) => http.get<RunsView>('/v1/runs', query),
    get: (runId: string, tenantId?: string) => http.get<RunView>(`/v1/runs/${runId}`, { tenantId }),
    cancel: (runId: string, tenantId?: string) =>
      http.post<{ runId: string; status: string }>(
        `/v1/runs/${runId}/cancel`,
        tenantId === undefined ? {} : { tenantId },
      ),
    /** A page of what was asked, said, run and printed. */
    messages: (runId: string, query: { tenantId?: string; cursor?: string; limit?: number } = {}) =>
      http.get<RunTranscript>(`/v1/runs/${runId}/messages`, query),
    /** The file that came with it. */
    file: (runId: string, tenantId?: string) => fileAt(http, `/v1/runs/${runId}/file`, tenantId),
    /** A run's events to its end. A broken connection is taken up again after the last event that was seen. */
    events: (
      runId: string,
      { tenantId, signal }: Pick<RequestOptions, 'tenantId' | 'signal'> = {},
    ): AsyncGenerator<StreamEvent> => http.events(`/v1/runs/${runId}/events`, { query: { tenantId }, signal }),
  };
}
