/** Tells a person what is happening. It speaks on standard error when standard output is for a program. */
export class Progress {
  private readonly startedMs = Date.now();
  private readonly out: NodeJS.WriteStream;

  constructor({ json }: { json: boolean }) {
    this.out = json ? process.stderr : process.stdout;
  }

  line(text: string): void {
    this.out.write(`${text}\n`);
  }

  lines(texts: readonly string[]): void {
    for (const text of texts) this.line(text);
  }

  /** Announces a step and says how long it took. */
  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const startedMs = Date.now();
    if (this.out.isTTY) this.out.write(`… ${name}`);
    try {
      const result = await work();
      this.end(`✔ ${name} (${((Date.now() - startedMs) / 1000).toFixed(1)} s)`);
      return result;
    } catch (error) {
      this.end(`✘ ${name}`);
      throw error;
    }
  }

  get seconds(): string {
    return ((Date.now() - this.startedMs) / 1000).toFixed(1);
  }

  private end(text: string): void {
    this.line(this.out.isTTY ? `\r\u001b[K${text}` : text);
  }
}
