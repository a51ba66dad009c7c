/**
 * When a long body is taken apart: one after the other, by turns of their owners, with time for everybody else between two. Sixteen
 * of them that came whole at once were all taken apart before anything else was answered, for most of a second.
 */

/** Of so many characters. Shorter ones cost next to nothing. */
const longFrom = 16 * 1024;
/** Others have this many times as long as the last one took, and no longer than this. */
const timesForOthers = 2;
const othersMaxMs = 200;

export class LongBodyTurns {
  /** In the order of their turns. */
  private readonly owners = new Map<string, (() => void)[]>();
  private isBusy = false;

  /** Waits for the turn of a body. */
  async wait(owner: string, length: number): Promise<void> {
    if (length < longFrom) return;
    await new Promise<void>((resolve) => {
      const own = this.owners.get(owner) ?? [];
      this.owners.set(owner, own);
      own.push(resolve);
      this.goOn();
    });
  }

  private goOn(): void {
    if (this.isBusy) return;
    const [first] = this.owners;
    if (!first) return;
    const [owner, [begin, ...rest]] = first;
    this.owners.delete(owner);
    if (rest.length > 0) this.owners.set(owner, rest);
    this.isBusy = true;
    const startedMs = performance.now();
    begin?.();
    // All that it does before it waits for something is done by then.
    setImmediate(() => {
      const othersMs = Math.min(othersMaxMs, timesForOthers * (performance.now() - startedMs));
      setTimeout(() => {
        this.isBusy = false;
        this.goOn();
      }, othersMs);
    });
  }
}
