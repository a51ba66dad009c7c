/** What is looked at live: read again and again while somebody watches, and sent when it differs from what was sent last. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiContext, ApiDependencies } from './context';
import { sseEvent } from './denials';
import { streamHeaders } from './openapi';

/** How often a stream with nothing new says that it lives. */
const aliveMs = 15_000;

export interface LiveView {
  event: string;
  everyMs: number;
  read: () => Promise<object>;
}

/** The stream of a view. It ends when the client goes, the process stops, or reading fails: the client then comes back. */
export async function streamChanges(
  c: ApiContext,
  { closing, log }: ApiDependencies,
  { event, everyMs, read }: LiveView,
): Promise<Response> {
  const stopped = AbortSignal.any([c.req.raw.signal, closing]);
  const encoder = new TextEncoder();
  // Read once before the answer begins, so that a refusal is one.
  const first = await read();
  const stream = new ReadableStream<Uint8Array>({
    async start(controller) {
      const send = (text: string): void => controller.enqueue(encoder.encode(text));
      let saidAtMs = Date.now();
      try {
        send(sseEvent({ event, data: first }));
        let sent = JSON.stringify(first);
        while (!stopped.aborted) {
          await sleep(everyMs, undefined, { signal: stopped });
          const view = await read();
          const now = JSON.stringify(view);
          if (now !== sent) send(sseEvent({ event, data: view }));
          else if (Date.now() - saidAtMs > aliveMs) send(': alive\n\n');
          else continue;
          sent = now;
          saidAtMs = Date.now();
        }
      } catch (error) {
        if (!stopped.aborted) log.warn({ error, event }, 'a live view broke off');
      }
      try {
        controller.close();
      } catch {
        // The client closed it first.
      }
    },
  });
  return new Response(stream, { headers: streamHeaders });
}
