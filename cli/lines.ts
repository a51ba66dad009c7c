/** The lines that a person types, or that a program sends, one after the other; also those that come before they are asked for. */
import { createInterface, type Interface } from 'node:readline';

export class Lines {
  private readonly interface: Interface;
  private readonly come: string[] = [];
  private ended = false;
  private wake: () => void = () => undefined;

  /** @param onInterrupt is called for each Ctrl-C. */
  constructor(private readonly onInterrupt: () => void) {
    const { stdin, stdout } = process;
    this.interface = createInterface({ input: stdin, output: stdout, terminal: stdin.isTTY && stdout.isTTY });
    this.interface.on('line', (line) => {
      this.come.push(line);
      this.wake();
    });
    this.interface.on('close', () => {
      this.ended = true;
      this.wake();
    });
    // In a terminal the keys come here; elsewhere, and from `kill`, it is a signal.
    this.interface.on('SIGINT', onInterrupt);
    process.on('SIGINT', onInterrupt);
  }

  /** The next line; undefined when there is none any more, or the signal came first. */
  async next(prompt: string, signal?: AbortSignal): Promise<string | undefined> {
    if (process.stdin.isTTY) {
      this.interface.setPrompt(prompt);
      this.interface.prompt();
    }
    const woken = (): void => {
      this.leavePrompt();
      this.wake();
    };
    signal?.addEventListener('abort', woken);
    try {
      while (this.come.length === 0 && !this.ended && !signal?.aborted)
        await new Promise<void>((resolve) => (this.wake = resolve));
    } finally {
      signal?.removeEventListener('abort', woken);
    }
    if (signal?.aborted) return undefined;
    if (this.come.length === 0) this.leavePrompt();
    return this.come.shift();
  }

  /** Nobody answers it: what is said next begins a line of its own. */
  private leavePrompt(): void {
    if (process.stdin.isTTY) process.stdout.write('\n');
  }

  close(): void {
    process.off('SIGINT', this.onInterrupt);
    this.interface.close();
  }
}
