/** What an answer of OpenAI's Responses API used, read from its bytes as they pass: of a stream, and of one that comes whole. */
import { isRecord } from '../../../../core/prices/usage';
import { PassingEvents, type PassingEvent } from '../../events';
import { objectFrom } from '../../json';
import { newRead, WholeReader } from '../../readers';
import type { AnswerRead, AnswerReader } from '../../wire';

/** What of a response says what it costs: its words are no part of what is kept. */
export interface BilledResponse {
  usage: unknown;
  service_tier: string | null | undefined;
  output: object[];
}

/** How a response ends. Before that it is under way, and its usage is not there. */
const endings = ['completed', 'incomplete', 'failed'];

function noteResponse(read: AnswerRead, response: Record<string, unknown>): void {
  const { object, status, usage, service_tier: serviceTier, output, error } = response;
  if (object !== 'response' || !endings.includes(String(status))) return;
  read.isWhole = true;
  if (isRecord(error)) read.errorType = String(error.code);
  // One that failed is billed when it says for what.
  if (status === 'failed' && usage == null) return;
  read.usageIsFinal = true;
  const billed: BilledResponse = {
    usage,
    service_tier: serviceTier as string | null | undefined,
    output: (Array.isArray(output) ? (output as unknown[]) : []).filter(isRecord).map(({ type, action }) => ({
      type,
      ...(isRecord(action) ? { action: { type: action.type } } : {}),
    })),
  };
  read.usage = billed;
}

/** An answer that comes whole. */
export const wholeResponseReader = (): AnswerReader => new WholeReader(noteResponse);

export class ResponseStreamReader implements AnswerReader {
  readonly read = newRead();
  private readonly events = new PassingEvents((event) => this.take(event));
  private lastData = '';

  push(part: Buffer): void {
    this.events.push(part);
  }

  end(): { isBetweenEvents: boolean } {
    const { sequence_number: sequence } = objectFrom(this.lastData) ?? {};
    if (typeof sequence === 'number') this.read.sequence = sequence;
    return { isBetweenEvents: this.events.isBetweenEvents };
  }

  private take({ name, data }: PassingEvent): void {
    this.lastData = data;
    // Most of a stream, and nothing of it is looked at.
    if (name.endsWith('.delta')) return;
    const event = objectFrom(data);
    switch (event?.type) {
      case 'response.output_item.added':
        this.read.outputBegan = true;
        break;
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
        if (isRecord(event.response)) noteResponse(this.read, event.response);
        break;
      case 'error':
        this.read.isWhole = true;
        this.read.errorType = typeof event.code === 'string' ? event.code : 'server_error';
    }
  }
}
