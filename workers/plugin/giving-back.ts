/** What may be held for calls that are not made is given back beside their activities, which fail at once, for as long as that takes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { drainMs, patienceMs, within } from './settling';

export class GivingBack {
  private readonly underWay = new Set<Promise<void>>();

  /** @param mayPass whether the same may be taken later. */
  constructor(private readonly mayPass: (error: unknown) => boolean) {}

  /** Once. */
  begin(giving: Promise<unknown>): void {
    const done = giving.then(
      () => undefined,
      () => undefined,
    );
    this.underWay.add(done);
    void done.then(() => this.underWay.delete(done));
  }

  /** Until somebody hears it. What nobody ever hears runs out. */
  insist(give: () => Promise<unknown>): void {
    this.begin(this.untilHeard(give));
  }

  /** Resolves once all is given back, or after a moment. It rejects nothing. */
  async done(): Promise<void> {
    await within(drainMs, Promise.all(this.underWay));
  }

  private async untilHeard(give: () => Promise<unknown>): Promise<void> {
    const untilMs = performance.now() + patienceMs;
    for (let waitMs = 1_000; performance.now() < untilMs; waitMs = Math.min(waitMs * 2, 5_000)) {
      await sleep(waitMs, undefined, { ref: false });
      try {
        await give();
        return;
      } catch (error) {
        if (!this.mayPass(error)) return;
      }
    }
  }
}
