/** Server-sent events, told apart while their bytes pass: those of one answer, with bounded memory. */
import { StringDecoder } from 'node:string_decoder';

/** An event that is longer is not read; what it says is not known then. */
const eventCharsMax = 8 * 1024 * 1024;

export interface PassingEvent {
  name: string;
  data: string;
}

export class PassingEvents {
  private readonly decoder = new StringDecoder('utf8');
  private rest = '';
  /** An event was too long to be read: nothing that comes is. */
  isLost = false;

  constructor(private readonly onEvent: (event: PassingEvent) => void) {}

  /** @throws Error once an event is too long: what the answer says is not known then, and nothing more is read. */
  push(part: Buffer): void {
    if (this.isLost) return;
    // What was there is known to have no end in it, but for one that is cut.
    let searched = Math.max(0, this.rest.length - 3);
    this.rest += this.decoder.write(part);
    let from = 0;
    for (;;) {
      const end = /\r?\n\r?\n/g;
      end.lastIndex = searched;
      const found = end.exec(this.rest);
      if (!found) break;
      this.tell(this.rest.slice(from, found.index));
      from = searched = end.lastIndex;
    }
    if (from > 0) this.rest = this.rest.slice(from);
    if (this.rest.length <= eventCharsMax) return;
    this.isLost = true;
    this.rest = '';
    throw new Error(`An event of the stream is longer than ${eventCharsMax} characters.`);
  }

  /** Whether the last event that began has ended. */
  get isBetweenEvents(): boolean {
    return !this.isLost && this.rest.trim() === '';
  }

  private tell(text: string): void {
    let name = '';
    const data: string[] = [];
    for (const line of text.split(/\r?\n/)) {
      if (line.startsWith('event:')) name = line.slice(6).trim();
      else if (line.startsWith('data:')) data.push(line.slice(5).trimStart());
    }
    if (data.length > 0) this.onEvent({ name, data: data.join('\n') });
  }
}
