/** What a record holds that is played once more (core/budget/what-if.ts), and what is tried. */
import type { DecidedWith } from './decided-with';
import type { Usd } from '../money';
import type { Period } from './periods';
import type { Payer, Quota } from './quotas';

/** A request as it was decided. */
export interface RecordedRequest extends Payer {
  type: 'decided';
  atMs: number;
  operationId: string;
  amountUsd: Usd;
  minimumUsd?: Usd | undefined;
  /** Nothing where it was refused. */
  grantedUsd?: Usd | undefined;
  /** Which attempt of which step of a run asked: one that waits for money asks again, as a request of its own each time. */
  step?: string | undefined;
  decidedWith?: DecidedWith | undefined;
  /** The envelope that it is a part of; without one, what is held on several resources is an envelope. */
  parentId?: string | undefined;
  /** Why limits cannot decide it once more; absent where they can. What it holds counts all the same. */
  apart?: string | undefined;
}

/** What became of a grant: it ended, at what it cost; or its cost was corrected, in the period that it was posted in. */
export type RecordedEnd = Payer & { atMs: number; operationId: string } & (
    | {
        type: 'ended';
        grantedUsd: Usd;
        costUsd: Usd;
        isUnverified?: boolean | undefined;
        parentId?: string | undefined;
        /** What went back to the envelope that it was a part of; negative where its cost took more. */
        returnedUsd?: Usd | undefined;
      }
    | { type: 'corrected'; amountUsd: Usd; postedAtMs: number }
  );

/** How a limit stood once it was set, topped up or made; removed where there is none. */
export interface RecordedLimit {
  type: 'limited';
  atMs: number;
  quotaId: string;
  quota?: Quota | undefined;
}

export type Recorded = RecordedRequest | RecordedEnd | RecordedLimit;

/** Which limit is tried. */
export type TriedLimit = Pick<Quota, 'scope' | 'scopeId' | 'resourceType' | 'period' | 'limitUsd'>;

/** What was held before the first event, or spent in what a period had gone by then; of an envelope its rest. */
export interface Carried {
  period?: Period;
  spentUsd?: Usd;
  reservedUsd?: Usd;
  envelopeId?: string;
}
