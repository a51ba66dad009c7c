/** Envelopes while a record is played once more (core/budget/what-if.ts): what of each no part has taken. */
import type { Usd } from '../money';
import type { Payer } from './quotas';
import type { RecordedRequest } from './what-if-record';

export class Envelopes {
  private readonly rests = new Map<string, { payer: Payer; usd: Usd }>();

  constructor(
    /** Moves what the limits of a payer hold. */
    private readonly hold: (payer: Payer, by: { atMs: number; reservedUsd: Usd }) => void,
  ) {}

  open(id: string, payer: Payer, usd: Usd): void {
    this.rests.set(id, { payer, usd });
  }

  /** Ends one, and tells its rest; undefined for what is none that is open. */
  close(id: string): Usd | undefined {
    const rest = this.rests.get(id)?.usd;
    this.rests.delete(id);
    return rest;
  }

  /** What a part is granted; undefined where its envelope has too little. */
  partOf(id: string, { amountUsd, minimumUsd = amountUsd, decidedWith }: RecordedRequest): Usd | undefined {
    const { usd } = this.rests.get(id) ?? { usd: 0n };
    const { mostUsd = amountUsd } = decidedWith ?? {};
    if (!this.rests.has(id) || usd < minimumUsd) return undefined;
    return usd < mostUsd ? usd : mostUsd;
  }

  /** What a part takes or gives back, as far as there is something. Nothing where the envelope has ended. */
  move(id: string, { atMs, usd }: { atMs: number; usd: Usd }): void {
    const rest = this.rests.get(id);
    if (!rest) return;
    const moved = usd < -rest.usd ? -rest.usd : usd;
    rest.usd += moved;
    this.hold(rest.payer, { atMs, reservedUsd: moved });
  }
}
