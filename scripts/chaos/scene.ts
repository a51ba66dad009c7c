/** What a chaos run's load and its faults share: who is there, what was said, and how a promise is checked. */
import type { Answer, Caller } from './caller';
import type { Chance } from './random';

export interface Tenant {
  tenantId: string;
  /** By this every request of the tenant is chosen, however the others go. */
  chance: Chance;
}

export interface ToldMessage {
  tenantId: string;
  conversationId: string;
  turnId: string;
  /** What was said, which nobody else says. */
  message: string;
  /** Somebody asked for its turn to stop, or closed the conversation over it. */
  stopped: boolean;
  /** When it was taken, in milliseconds since 1970. */
  atMs: number;
  /** When its conversation was closed: until then its end was seen, if it had one. */
  closedAtMs?: number;
}

/** The runs and conversations that a load has begun. */
export interface Begun {
  readonly runs: { tenantId: string; runId: string; atMs: number }[];
  readonly conversations: { tenantId: string; conversationId: string; atMs: number }[];
}

/** Whether a run is shown as ended, or is not there any more, as one that a takeover of Postgres lost. */
export const hasEnded = (shown: Answer | undefined): boolean =>
  shown?.status === 404 || ['completed', 'cancelled', 'quota_exceeded', 'failed'].includes(String(shown?.body.status));

/** Where people who talk note what they said, and by whom they say it. */
export interface Talking extends Pick<Begun, 'conversations'> {
  readonly caller: Caller;
  readonly messages: ToldMessage[];
  readonly isStopping: boolean;
}

/** Notes a violation of a promise that is not kept. */
export type Hold = (promise: string, isKept: boolean, what: () => string) => void;

/** What a fault is told of the run that it happens to. */
export interface Scene {
  tenants: readonly Tenant[];
  load: Begun;
  /** Checks what holds at every moment, for faults that are over too soon for the look after them. */
  look: () => Promise<void>;
  /** Checks what holds of this fault alone. */
  hold: Hold;
}
