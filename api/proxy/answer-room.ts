/**
 * Room for answers that come whole: they are kept until they are known to be ones, and until their client has read them. What one may come
 * to is taken before its call is paid for, so that no answer is bought that there is no room for; one that turns out longer takes more
 * while there is any.
 */
import type { AskedCall } from './wire';

const MiB = 1024 * 1024;

/** The longest that one may be. */
export const answerBytesMax = 64 * MiB;

export interface AnswerRoomLimits {
  perOwnerBytes: number;
  allBytes: number;
}

/** What answers have around their words, whatever they say. */
const aroundBytes = 256 * 1024;
/** A token of text in JSON, its letters escaped; and one with the twenty others that could have stood there. */
const tokenBytes = { plain: 64, withOthers: 4_096 };

/** How long the answer of a call may become: it repeats some of what was asked. */
export function answerBytesOf(body: Record<string, unknown>, asked: AskedCall): number {
  if (asked.answerBytes !== undefined) return asked.answerBytes;
  const { include, generationConfig, generation_config: config, logprobs } = body;
  const saysOthers = logprobs === true || /logprobs/i.test(JSON.stringify([include, generationConfig, config]));
  const perToken = saysOthers ? tokenBytes.withOthers : tokenBytes.plain;
  return Math.min(answerBytesMax, aroundBytes + 2 * asked.inputTokens + perToken * asked.maxOutputTokens);
}

export class AnswerRoom {
  private readonly owners = new Map<string, number>();
  private all = 0;

  constructor(private readonly limits: AnswerRoomLimits = { perOwnerBytes: 256 * MiB, allBytes: 1_024 * MiB }) {}

  /** Nothing yet, until it grows. */
  shareOf(owner: string): AnswerShare {
    return new AnswerShare((bytes) => this.take(owner, bytes));
  }

  private take(owner: string, bytes: number): boolean {
    const own = this.owners.get(owner) ?? 0;
    const { perOwnerBytes, allBytes } = this.limits;
    if (bytes > 0 && (own + bytes > perOwnerBytes || this.all + bytes > allBytes)) return false;
    this.all += bytes;
    if (own + bytes > 0) this.owners.set(owner, own + bytes);
    else this.owners.delete(owner);
    return true;
  }
}

export class AnswerShare {
  private bytes = 0;

  constructor(private readonly take: (bytes: number) => boolean) {}

  /** Takes what is missing to so many bytes. False where there is no room for them: it stays as it is then. */
  growTo(bytes: number): boolean {
    if (bytes <= this.bytes) return true;
    if (!this.take(bytes - this.bytes)) return false;
    this.bytes = bytes;
    return true;
  }

  release(): void {
    this.take(-this.bytes);
    this.bytes = 0;
  }
}
