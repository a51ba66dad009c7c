/** What a chat completion of OpenAI's used, read from its bytes as they pass: of a stream, and of one that comes whole. */
import { isRecord } from '../../../../core/prices/usage';
import { PassingEvents, type PassingEvent } from '../../events';
import { objectFrom } from '../../json';
import { newRead, WholeReader } from '../../readers';
import type { AnswerReader } from '../../wire';

/** What of a completion says what it costs: its words are no part of what is kept. */
export interface BilledChat {
  usage: unknown;
  service_tier: string | null | undefined;
}

/** An answer that comes whole. */
export const wholeChatReader = (): AnswerReader =>
  new WholeReader((read, { object, usage, service_tier: tier }) => {
    if (object !== 'chat.completion') return;
    read.isWhole = true;
    read.usageIsFinal = true;
    if (usage != null) read.usage = { usage, service_tier: tier as BilledChat['service_tier'] } satisfies BilledChat;
  });

/** Its events have no names: what says something of usage or of an error is told from its pieces of text by these, and then read. */
const telling = /"(usage|error)"\s*:\s*\{/;

/** The last piece but one says what was used, where its request asked for that. */
export class ChatStreamReader implements AnswerReader {
  readonly read = newRead();
  private tier: BilledChat['service_tier'];
  private readonly events = new PassingEvents((event) => this.take(event));

  push(part: Buffer): void {
    this.events.push(part);
  }

  end(): { isBetweenEvents: boolean } {
    return { isBetweenEvents: this.events.isBetweenEvents };
  }

  private take({ data }: PassingEvent): void {
    const { read } = this;
    if (data === '[DONE]') {
      read.isWhole = true;
      read.usageIsFinal = true;
      return;
    }
    if (read.outputBegan && !telling.test(data)) return;
    const { error, usage, choices, service_tier: tier } = objectFrom(data) ?? {};
    if (isRecord(error)) {
      read.isWhole = true;
      read.errorType = [error.code, error.type].find((name) => typeof name === 'string') ?? 'server_error';
      return;
    }
    read.outputBegan = true;
    if (typeof tier === 'string') this.tier = tier;
    if (!isRecord(usage)) return;
    // Whoever reports usage as it goes on has only counted so far what comes with an answer.
    read.usageIsFinal = Array.isArray(choices) && choices.length === 0;
    // Nothing but the mark of its end comes after that, which some leave out.
    read.isWhole = read.usageIsFinal;
    read.usage = { usage, service_tier: this.tier } satisfies BilledChat;
  }
}
