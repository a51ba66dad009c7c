/** How long a client waits: for an answer, and between two tries. */

/** Waiting for an answer, but not for ever: it is given up when nothing of it came for so long. */
export class Patience {
  readonly signal: AbortSignal;
  private readonly lost = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly silentMs: number,
    /** Of the caller, who may give it up sooner. */
    signal?: AbortSignal,
  ) {
    this.signal = signal ? AbortSignal.any([signal, this.lost.signal]) : this.lost.signal;
    this.heard();
  }

  /** Something came. */
  heard(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(
      () => this.lost.abort(new Error(`Nothing came for ${this.silentMs / 1_000} s.`)),
      this.silentMs,
    );
  }

  /** The same body, each piece of which counts as heard. */
  of(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    return body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (piece, to) => {
          this.heard();
          to.enqueue(piece);
        },
        flush: () => this.end(),
      }),
    );
  }

  /** Nothing more is waited for. */
  end(): void {
    clearTimeout(this.timer);
  }
}

/** A stream says every 15 s that it is there. */
export const streamSilentMs = 45_000;

/**
 * Resolves after a while. @throws the reason of the signal that ends it sooner.
 * @param isIdle whether a process that has nothing else to do may end before
 */
export function pause(ms: number, signal?: AbortSignal, { isIdle = false } = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = (): void => {
      clearTimeout(timer);
      reject(signal?.reason instanceof Error ? signal.reason : new Error('The wait was given up.'));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', ended);
      resolve();
    }, ms);
    // A browser's is a number, and keeps nothing.
    if (isIdle && typeof timer === 'object') timer.unref();
    if (signal?.aborted) ended();
    else signal?.addEventListener('abort', ended, { once: true });
  });
}
