/** A clock that moves when a test says so: what is due at a moment happens in order, and what follows from it before the next. */
import type { Clock } from '../../authority/client/clock';

/** Lets everything happen that waits for nothing but its turn. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class ManualClock implements Clock {
  private ms = 0;
  private due: { atMs: number; callBack: () => void }[] = [];

  nowMs(): number {
    return this.ms;
  }

  after(ms: number, callBack: () => void): () => void {
    const call = { atMs: this.ms + Math.max(0, ms), callBack };
    this.due.push(call);
    return () => void (this.due = this.due.filter((other) => other !== call));
  }

  /** How many calls are due some time: none, where nothing is left behind. */
  get pending(): number {
    return this.due.length;
  }

  /** Moves to a moment, by way of all that is due until then. */
  async moveTo(ms: number): Promise<void> {
    for (;;) {
      await settle();
      const next = this.due.reduce<(typeof this.due)[number] | undefined>(
        (first, call) => (first && first.atMs <= call.atMs ? first : call),
        undefined,
      );
      if (!next || next.atMs > ms) break;
      this.due = this.due.filter((call) => call !== next);
      this.ms = Math.max(this.ms, next.atMs);
      next.callBack();
    }
    this.ms = Math.max(this.ms, ms);
  }
}
