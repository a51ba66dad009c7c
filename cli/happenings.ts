/** What happens in a run or a conversation, as lines for a terminal: replies on standard output, all else beside it. */
import type { StreamEvent } from '../client';
import { printable, usd } from './output';
import { inputLines, questionOf } from './programs';

/** What is said of an event beside the reply. Undefined for what a reader need not know. */
function noteOf({ type, data }: StreamEvent): string | undefined {
  const cost = typeof data.costUsd === 'string' ? `, ${usd(data.costUsd)}` : '';
  const notes: Record<string, () => string | undefined> = {
    'model.replied': () => `${String(data.model)}${cost}`,
    'model.superseded': () => `a reply that came second${cost}`,
    'code.executed': () => `code ran${Number(data.failed) > 0 ? `, ${String(data.failed)} failed` : ''}`,
    'approval.requested': () =>
      data.kind === 'question'
        ? `a question to you: ${questionOf(data.input)}`
        : [`asks to use ${String(data.tool)}`, ...inputLines(data.input)].join('\n'),
    'approval.decided': () =>
      `that was ${String(data.status)}${typeof data.decidedBy === 'string' ? ` by ${data.decidedBy}` : ''}`,
    'turn.ended': () => {
      const { code, message } = (data.failure ?? {}) as { code?: string; message?: string };
      // A denial is told by the end of the stream.
      return message === undefined || code === 'quota_exceeded' ? undefined : `${code}: ${message}`;
    },
    'money.waiting': () => `waits for money of ${String(data.resource)}`,
    'money.asked': () => `asks people for ${usd(String(data.askedUsd))}`,
    'money.answered': () =>
      `that was ${String(data.status)}${typeof data.decidedBy === 'string' ? ` by ${data.decidedBy}` : ''}`,
    'money.waited': () => 'there is money again',
    'context.compacted': () => `the conversation was summed up${cost}`,
    'sandbox.ended': () => `the sandbox ended${cost}`,
    'sandbox.failed': () => `the sandbox failed: ${String(data.errorType)}`,
  };
  return Object.hasOwn(notes, type) ? notes[type]?.() : undefined;
}

/** Writes replies piece by piece, and notes between them. */
export class Teller {
  private atLineStart = true;

  tell(event: StreamEvent): void {
    if (event.type === 'delta') {
      const text = printable(String(event.data.text), { lines: true });
      process.stdout.write(text);
      this.atLineStart = text === '' ? this.atLineStart : text.endsWith('\n');
      return;
    }
    const note = noteOf(event);
    if (note !== undefined) this.note(note);
  }

  /** A note of several lines is indented beneath its first. */
  note(text: string): void {
    this.endLine();
    console.error(printable(`  · ${text.split('\n').join('\n    ')}`, { lines: true }));
  }

  /** A reply that was begun ends its line. */
  endLine(): void {
    if (!this.atLineStart) process.stdout.write('\n');
    this.atLineStart = true;
  }
}
