/**
 * What is looked at live: read again and again while somebody watches, and sent when it differs from what was sent last. One
 * view is read once for all who watch it in this process.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../telemetry/log';
import { sseEvent } from './denials';
import type { LongAnswers } from './long-answers';
import { streamHeaders } from './openapi';
import type { ApiContext } from './request';

/** How often a stream with nothing new says that it lives. */
const aliveMs = 15_000;

export interface LiveView {
  event: string;
  /** What is looked at: who watches the same sees the same. */
  of: string;
  everyMs: number;
  read: () => Promise<object>;
}

interface Reading {
  atMs: number;
  view: Promise<string>;
}

/** The latest reading of each view that somebody watches. */
export class LiveViews {
  private readonly readings = new Map<string, Reading>();
  private readonly watching = new Map<string, number>();

  /** A reading that is no older than the view's pause. */
  latest({ event, of, everyMs, read }: LiveView): Promise<string> {
    const name = `${event} ${of}`;
    const known = this.readings.get(name);
    // A little less than the pause, since those who watch it do not wake together.
    if (known && performance.now() - known.atMs < everyMs * 0.9) return known.view;
    const view = read().then((found) => JSON.stringify(found));
    const reading = { atMs: performance.now(), view };
    this.readings.set(name, reading);
    view.catch(() => {
      if (this.readings.get(name) === reading) this.readings.delete(name);
    });
    return view;
  }

  watch({ event, of }: LiveView): () => void {
    const name = `${event} ${of}`;
    this.watching.set(name, (this.watching.get(name) ?? 0) + 1);
    return () => {
      const left = (this.watching.get(name) ?? 1) - 1;
      if (left > 0) return void this.watching.set(name, left);
      this.watching.delete(name);
      this.readings.delete(name);
    };
  }
}

interface LiveDependencies {
  views: LiveViews;
  longAnswers: LongAnswers;
  log: Logger;
}

/** The stream of a view. It ends when the client goes, the process stops, or reading fails: the client then comes back. */
export function streamChanges(c: ApiContext, dependencies: LiveDependencies, view: LiveView): Promise<Response> {
  return dependencies.longAnswers.answer(c, {
    kind: 'events',
    headers: streamHeaders,
    pieces: (stopped) => changes(dependencies, view, stopped),
  });
}

async function* changes(
  { views, log }: LiveDependencies,
  view: LiveView,
  stopped: AbortSignal,
): AsyncGenerator<string, void> {
  const { event, everyMs } = view;
  const unwatch = views.watch(view);
  try {
    // Read once before the answer begins, so that a refusal is one.
    let sent = await views.latest(view);
    yield sseEvent({ event, data: JSON.parse(sent) as object });
    let saidAtMs = Date.now();
    while (!stopped.aborted) {
      await sleep(everyMs, undefined, { signal: stopped });
      const now = await views.latest(view);
      if (now !== sent) yield sseEvent({ event, data: JSON.parse(now) as object });
      else if (Date.now() - saidAtMs > aliveMs) yield ': alive\n\n';
      else continue;
      sent = now;
      saidAtMs = Date.now();
    }
  } catch (error) {
    if (stopped.aborted) return;
    log.warn({ error, event }, 'a live view broke off');
    throw error;
  } finally {
    unwatch();
  }
}
