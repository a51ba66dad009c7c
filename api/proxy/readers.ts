/** What the readers of all providers' answers share. */
import { objectFrom } from './json';
import type { AnswerRead, AnswerReader } from './wire';

export const newRead = (): AnswerRead => ({ usageIsFinal: false, outputBegan: false, isWhole: false });

/** Of an answer that comes whole: what it is, is read at its end. */
export class WholeReader implements AnswerReader {
  readonly read = newRead();
  private parts: Buffer[] = [];

  constructor(private readonly note: (read: AnswerRead, answer: Record<string, unknown>) => void) {}

  push(part: Buffer): void {
    this.read.outputBegan = true;
    this.parts.push(part);
  }

  end(): { isBetweenEvents: boolean } {
    const answer = objectFrom(Buffer.concat(this.parts).toString());
    this.parts = [];
    if (answer) this.note(this.read, answer);
    return { isBetweenEvents: false };
  }
}

/** Of a stream where none can be: it passes, and what it used is not known. */
export class UnreadReader implements AnswerReader {
  readonly read = newRead();

  push(): void {
    this.read.outputBegan = true;
  }

  end(): { isBetweenEvents: boolean } {
    return { isBetweenEvents: false };
  }
}

/** Whatever a provider sends: what cannot be read passes all the same, and what it costs is not known. */
export function readFrom(reader: AnswerReader, part: Buffer): void {
  if (reader.read.unread !== undefined) return;
  try {
    reader.push(part);
  } catch (error) {
    reader.read.unread = error ?? 'unknown';
  }
}
