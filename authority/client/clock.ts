/** The time by which a process waits for an authority: an argument, so that a test can have a clock of its own. */
export interface Clock {
  /** Milliseconds since some moment: only differences mean something. */
  nowMs(): number;
  /** Calls back once after so many milliseconds, unless what it returns is called before. */
  after(ms: number, callBack: () => void): () => void;
}

/** The clock of this process. */
export const processClock: Clock = {
  nowMs: () => performance.now(),
  after(ms, callBack) {
    const timer = setTimeout(callBack, ms);
    return () => clearTimeout(timer);
  },
};

/** Resolves after so many milliseconds. */
export const sleepBy = (clock: Clock, ms: number): Promise<void> =>
  new Promise((resolve) => void clock.after(ms, resolve));

/** Resolves when what is waited for has settled, or after so many milliseconds. */
export async function settledWithin(clock: Clock, ms: number, awaited: Promise<unknown>): Promise<void> {
  let cancel: (() => void) | undefined;
  const tooLong = new Promise<void>((resolve) => (cancel = clock.after(ms, resolve)));
  await Promise.race([awaited.catch(() => undefined), tooLong]);
  cancel?.();
}
