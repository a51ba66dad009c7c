/** A limit on the time that something works. What it waits for from outside (a person, money) does not count. */
import { CancellationScope, sleep } from '@temporalio/workflow';

export class TimeLimit {
  private scope: CancellationScope | undefined;
  private timer: CancellationScope | undefined;
  private startedAtMs = 0;

  constructor(private leftMsAtStart: number) {}

  /** What is left, in milliseconds. */
  get leftMs(): number {
    return this.timer ? Math.max(1, this.leftMsAtStart - (Date.now() - this.startedAtMs)) : this.leftMsAtStart;
  }

  /** Runs `work`, and cancels it when its time is over. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const scope = new CancellationScope();
    this.scope = scope;
    this.start();
    try {
      return await scope.run(work);
    } finally {
      this.stop();
    }
  }

  /** Cancels the work before its time. */
  cancel(): void {
    this.scope?.cancel();
  }

  /** Waits for something from outside: the time stands still meanwhile. */
  async standStill<T>(wait: () => Promise<T>): Promise<T> {
    this.stop();
    try {
      return await wait();
    } finally {
      if (!this.scope?.consideredCancelled) this.start();
    }
  }

  private start(): void {
    const { scope } = this;
    const timer = new CancellationScope();
    this.timer = timer;
    this.startedAtMs = Date.now();
    timer
      .run(() => sleep(this.leftMsAtStart, { summary: 'time limit' }))
      .then(
        () => scope?.cancel(),
        () => undefined,
      );
  }

  private stop(): void {
    if (!this.timer) return;
    this.leftMsAtStart = this.leftMs;
    const { timer } = this;
    this.timer = undefined;
    timer.cancel();
  }
}
