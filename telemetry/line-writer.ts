/**
 * Writes a process's log. A line that cannot be written (a disk that is full, a file system that went away) is lost, and is counted where
 * lines can be written again: no process ends or stands still for its log, and what waits to be written has a bound.
 */
import { openSync, write, writeSync } from 'node:fs';

/** What waits to be written at most: far more than a healthy disk ever lets wait. */
const waitingCharsMax = 1_000_000;
/** A pipe whose reader is slow takes more after this long. */
const againMs = 50;
const isBusy = (error: NodeJS.ErrnoException): boolean => error.code === 'EAGAIN' || error.code === 'EBUSY';

export class LineWriter {
  private readonly fd: number;
  private waiting: string[] = [];
  private waitingChars = 0;
  private isWriting = false;
  private lost = 0;

  /** @param destination a file descriptor, or the path of a file that lines are added to, which is its user's alone. */
  constructor(destination: number | string) {
    this.fd = typeof destination === 'number' ? destination : openSync(destination, 'a', 0o600);
    writers.add(this);
  }

  /** Takes a line, or lines, with their ends. Never throws. */
  write(text: string): void {
    if (this.waitingChars > waitingCharsMax) {
      this.lost += 1;
      return;
    }
    this.waiting.push(text);
    this.waitingChars += text.length;
    this.next();
  }

  private take(): Buffer {
    const text = this.waiting.join('');
    this.waiting = [];
    this.waitingChars = 0;
    return Buffer.from(text);
  }

  private next(): void {
    if (!this.isWriting && this.waiting.length > 0) this.writeAll(this.take());
  }

  private writeAll(bytes: Buffer): void {
    this.isWriting = true;
    write(this.fd, bytes, (error, written) => {
      if (error && isBusy(error)) return void setTimeout(() => this.writeAll(bytes), againMs).unref();
      if (!error && written < bytes.length) return this.writeAll(bytes.subarray(written));
      this.isWriting = false;
      if (error) this.lost += linesIn(bytes);
      else this.tellLost();
      this.next();
    });
  }

  private tellLost(): void {
    if (this.lost === 0) return;
    const line = {
      level: 40,
      time: new Date().toISOString(),
      pid: process.pid,
      msg: `lines of this log were lost: ${this.lost}`,
    };
    this.lost = 0;
    this.waiting.push(`${JSON.stringify(line)}\n`);
  }

  /** Writes what waits, once, as the process ends. */
  end(): void {
    const bytes = this.take();
    try {
      for (let from = 0; from < bytes.length;) from += writeSync(this.fd, bytes, from);
    } catch {
      // There is nobody left to tell.
    }
  }
}

const linesIn = (bytes: Buffer): number => bytes.toString().split('\n').length - 1;

const writers = new Set<LineWriter>();
process.on('exit', () => {
  for (const writer of writers) writer.end();
});
