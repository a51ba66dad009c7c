/** What an answer of Gemini's used, read from its bytes as they pass: of a stream, and of one that comes whole. */
import { doubts } from '../../../core/prices/doubts';
import { isRecord } from '../../../core/prices/usage';
import {
  groundingFrom,
  mergeGoogleUsage,
  type GoogleDetails,
  type GoogleUsage,
} from '../../../core/prices/usage-google';
import { PassingEvents, type PassingEvent } from '../events';
import { objectFrom } from '../json';
import { newRead, WholeReader } from '../readers';
import type { AnswerRead, AnswerReader } from '../wire';

/** What of an answer says what it costs: its words are no part of what is kept. */
export type BilledContent = GoogleDetails & { counts: GoogleUsage };

interface AnswerOf {
  model: string;
  /** How many answers were asked for. */
  candidates: number;
}

/** Puts what its pieces say together: usage comes with each of them, as of then. */
class Pieces {
  private readonly ended = new Set<unknown>();
  private readonly grounding: unknown[] = [];
  private counts: GoogleUsage | undefined;
  private isBlocked = false;
  /** Usage came with the end of all that was asked for, or after it. */
  private isCounted = false;

  constructor(private readonly of: AnswerOf) {}

  add({ candidates, promptFeedback, usageMetadata }: Record<string, unknown>): void {
    for (const candidate of Array.isArray(candidates) ? (candidates as unknown[]).filter(isRecord) : []) {
      if (candidate.finishReason != null) this.ended.add(candidate.index ?? 0);
      if (candidate.groundingMetadata != null) this.grounding.push(candidate.groundingMetadata);
    }
    // A prompt that is refused ends without a candidate.
    if (isRecord(promptFeedback) && promptFeedback.blockReason != null) this.isBlocked = true;
    if (!isRecord(usageMetadata)) return;
    this.counts = mergeGoogleUsage(this.counts, usageMetadata);
    this.isCounted = this.isWhole;
  }

  get isWhole(): boolean {
    return this.isBlocked || this.ended.size >= this.of.candidates;
  }

  noteIn(read: AnswerRead): void {
    read.isWhole = this.isWhole;
    read.usageIsFinal = this.isWhole;
    if (!this.counts) return;
    read.usage = { counts: this.counts, ...groundingFrom(this.grounding, this.of.model) } satisfies BilledContent;
    if (this.isCounted) delete read.doubt;
    else read.doubt = doubts.noLastReport;
  }
}

/** An answer that comes whole has all that there is. */
export const wholeContentReader = (of: AnswerOf): AnswerReader =>
  new WholeReader((read, answer) => {
    const { candidates, promptFeedback } = answer;
    if (!Array.isArray(candidates) && !isRecord(promptFeedback)) return;
    const pieces = new Pieces({ ...of, candidates: 0 });
    pieces.add(answer);
    pieces.noteIn(read);
  });

export class ContentStreamReader implements AnswerReader {
  readonly read = newRead();
  private readonly pieces: Pieces;
  private readonly events = new PassingEvents((event) => this.take(event));

  constructor(of: AnswerOf) {
    this.pieces = new Pieces(of);
  }

  push(part: Buffer): void {
    this.events.push(part);
  }

  end(): { isBetweenEvents: boolean } {
    return { isBetweenEvents: this.events.isBetweenEvents };
  }

  private take({ data }: PassingEvent): void {
    const { read, pieces } = this;
    const piece = objectFrom(data);
    if (!piece) return;
    if (isRecord(piece.error)) {
      read.isWhole = true;
      read.errorType = typeof piece.error.status === 'string' ? piece.error.status : 'INTERNAL';
      return;
    }
    read.outputBegan = true;
    pieces.add(piece);
    pieces.noteIn(read);
  }
}
