/** What an answer of Anthropic's Messages API used, read from its bytes as they pass: of a stream, and of one that comes whole. */
import { doubts } from '../../../core/prices/doubts';
import { billingOfRefusal } from '../../../core/prices/refusals-anthropic';
import { isRecord, UsageError } from '../../../core/prices/usage';
import { mergeStreamUsage, type AnthropicUsage } from '../../../core/prices/usage-anthropic';
import { PassingEvents, type PassingEvent } from '../events';
import { objectFrom } from '../json';
import { newRead, WholeReader } from '../readers';
import type { AnswerRead, AnswerReader } from '../wire';

/** A refusal before any output is billed, or not, by its category. */
function noteRefusal(read: AnswerRead, details: unknown): void {
  const category = isRecord(details) ? (details.category as string | null | undefined) : undefined;
  const billing = billingOfRefusal(category);
  if (billing === 'not_billed') read.isNotBilled = true;
  else if (billing === 'unknown') read.doubt ??= doubts.unknownRefusal;
}

/** An answer that comes whole. */
export const wholeMessageReader = (): AnswerReader =>
  new WholeReader((read, message) => {
    if (message.type !== 'message') return;
    read.isWhole = true;
    read.usageIsFinal = true;
    read.usage = message.usage;
    const { content, stop_reason: stopReason, stop_details: details } = message;
    if (stopReason === 'refusal' && Array.isArray(content) && content.length === 0) noteRefusal(read, details);
  });

export class MessageStreamReader implements AnswerReader {
  readonly read = newRead();
  private hasContent = false;
  private readonly events = new PassingEvents((event) => this.take(event));

  push(part: Buffer): void {
    this.events.push(part);
  }

  end(): { isBetweenEvents: boolean } {
    return { isBetweenEvents: this.events.isBetweenEvents };
  }

  private take({ name, data }: PassingEvent): void {
    const { read } = this;
    // Most of a stream, and nothing of it is looked at.
    if (name === 'content_block_delta' || name === 'ping') return;
    const event = objectFrom(data);
    switch (event?.type) {
      case 'message_start':
        if (read.outputBegan) read.doubt = doubts.twoMessages;
        read.outputBegan = true;
        this.merge(isRecord(event.message) ? event.message.usage : undefined);
        break;
      case 'content_block_start':
        this.hasContent = true;
        break;
      case 'message_delta':
        this.takeLast(event);
        break;
      case 'message_stop':
        read.isWhole = true;
        break;
      case 'error':
        read.isWhole = true;
        read.errorType = isRecord(event.error) ? String(event.error.type) : 'api_error';
    }
  }

  /** It comes after every content block: from here on the answer is whole, whatever happens to the connection. */
  private takeLast({ delta, usage }: Record<string, unknown>): void {
    const { read } = this;
    read.usageIsFinal = true;
    if (usage === undefined || usage === null) read.doubt ??= doubts.noLastReport;
    this.merge(usage);
    if (isRecord(delta) && delta.stop_reason === 'refusal' && !this.hasContent) noteRefusal(read, delta.stop_details);
  }

  private merge(usage: unknown): void {
    const { read } = this;
    try {
      read.usage = mergeStreamUsage(read.usage as AnthropicUsage | undefined, usage);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      read.doubt ??= error.message;
    }
  }
}
