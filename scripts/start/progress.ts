/** Tells a person what is happening. It speaks on standard error when standard output is for a program. */
export class Progress {
  private readonly startedMs = Date.now();
  /** What is waited for at this moment. */
  private waiting: { what: string; sinceMs: number; timer: NodeJS.Timeout } | undefined;

  constructor(
    { json }: { json: boolean },
    private readonly out: Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'> = json
      ? process.stderr
      : process.stdout,
  ) {}

  line(text: string): void {
    this.out.write(this.out.isTTY && this.waiting ? `${toLineStart}${text}\n` : `${text}\n`);
    if (this.out.isTTY) this.showWaiting();
  }

  lines(texts: readonly string[]): void {
    for (const text of texts) this.line(text);
  }

  /** Announces a step, says that it goes on while it does, and how long it took. */
  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const startedMs = Date.now();
    this.waitFor(name);
    try {
      const result = await work();
      this.waitFor(undefined);
      this.line(`✔ ${name} (${((Date.now() - startedMs) / 1000).toFixed(1)} s)`);
      return result;
    } catch (error) {
      this.waitFor(undefined);
      this.line(`✘ ${name}`);
      throw error;
    }
  }

  /**
   * From now on this is waited for, until the next call. A terminal shows it at once, with the seconds that pass; anything else has a
   * line of it when it takes long.
   */
  waitFor(what: string | undefined): void {
    if (this.waiting) {
      clearInterval(this.waiting.timer);
      if (this.out.isTTY) this.out.write(toLineStart);
    }
    const sinceMs = Date.now();
    this.waiting = what === undefined ? undefined : { what, sinceMs, timer: setInterval(() => this.tick(), 1_000) };
    if (this.out.isTTY) this.showWaiting();
  }

  get seconds(): string {
    return ((Date.now() - this.startedMs) / 1000).toFixed(1);
  }

  private tick(): void {
    if (this.out.isTTY) return this.showWaiting();
    const seconds = this.waitedSeconds();
    if (seconds === 10 || seconds % 30 === 0)
      this.out.write(`… ${this.waiting?.what}: waited for ${seconds} s so far\n`);
  }

  private waitedSeconds(): number {
    return Math.round((Date.now() - (this.waiting?.sinceMs ?? 0)) / 1000);
  }

  private showWaiting(): void {
    if (!this.waiting) return;
    const seconds = this.waitedSeconds();
    const text = `… ${this.waiting.what}${seconds === 0 ? '' : ` (${seconds} s)`}`;
    // A line that is wrapped could not be written over.
    this.out.write(`${toLineStart}${text.slice(0, (this.out.columns || 80) - 1)}`);
  }
}

const toLineStart = '\r\u001b[K';
