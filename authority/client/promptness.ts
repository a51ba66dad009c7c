/**
 * Whether this process is prompt enough to decide. A decision holds its tenant's lock for a round trip to Postgres and for as long as
 * the event loop needs between two answers: a process that is far from Postgres, or that stands still now and then, would hold up all
 * others of the tenant, and signals instead. It looks while somebody asks, and never otherwise; a limit for leaving and another for
 * coming back keep it from changing to and fro. What is judged is the way, not a machine that is busy: there a signal, which needs
 * more of it, would only make things worse.
 */
import type { Clock } from './clock';

/** `far`: its way to Postgres is long; `standing`: its event loop stood still a moment ago. */
export type Pace = 'prompt' | 'far' | 'standing';

/** A round trip and how long the event loop waited for it, the rest being what else it had to do. */
export interface RoundTrip {
  tookMs: number;
  waitedMs: number;
}

/** What the shortest of the round trips takes: above this it is far, and below that near again. */
const farMs = 5;
const nearMs = 3;
/** It is measured that often, judged by the last so many round trips, and not before there are that many. */
const measureMs = 1_000;
const roundTripsMax = 9;
const roundTripsMin = 3;
/** What was measured before a pause as long as this says nothing of now. */
const pauseMs = 60_000;
/** A timer says whether the event loop stands: later than this, it does, and it is not trusted for so long. */
const beatMs = 100;
const standingMs = 500;
const distrustMs = 5_000;
/** Timers go on that long after somebody asked. */
const askedMs = 5_000;

export class Promptness {
  private waysMs: number[] = [];
  private isFar = false;
  private isMeasuring = false;
  /** When the timer is due; infinite while there is none. */
  private beatAtMs = Infinity;
  private measuredAtMs = -Infinity;
  private askedAtMs = -Infinity;
  private distrustedUntilMs = -Infinity;
  private cancelBeat: (() => void) | undefined;
  private told: Pace = 'prompt';

  constructor(
    private readonly options: {
      /** Makes a round trip, and leaves with Postgres what the pace is. One that fails says nothing of the way. */
      measure: (pace: Pace) => Promise<RoundTrip>;
      /** The pace is another one. */
      changed: (pace: Pace, wayMs: number | undefined) => void;
      clock: Clock;
    },
  ) {}

  /** The pace now. Asking for it has it measured. */
  ask(): Pace {
    this.askedAtMs = this.options.clock.nowMs();
    this.noteLateness(this.askedAtMs);
    if (this.beatAtMs === Infinity) this.beat();
    if (!this.isMeasuring && this.askedAtMs - this.measuredAtMs >= measureMs) void this.measure();
    return this.pace();
  }

  /** Looks no more. */
  close(): void {
    this.cancelBeat?.();
  }

  private pace(): Pace {
    const now = this.options.clock.nowMs() < this.distrustedUntilMs ? 'standing' : this.isFar ? 'far' : 'prompt';
    if (now !== this.told) {
      this.told = now;
      this.options.changed(now, leastOf(this.waysMs));
    }
    return now;
  }

  private beat(): void {
    const { clock } = this.options;
    this.beatAtMs = clock.nowMs() + beatMs;
    this.cancelBeat = clock.after(beatMs, () => {
      const nowMs = clock.nowMs();
      this.noteLateness(nowMs);
      this.beatAtMs = Infinity;
      if (nowMs - this.askedAtMs < askedMs) this.beat();
    });
  }

  /** Who asks may come before the timer that is late. */
  private noteLateness(nowMs: number): void {
    if (nowMs - this.beatAtMs >= standingMs) this.distrustedUntilMs = nowMs + distrustMs;
  }

  private async measure(): Promise<void> {
    const { clock, measure } = this.options;
    this.isMeasuring = true;
    const nowMs = clock.nowMs();
    if (nowMs - this.measuredAtMs > pauseMs) this.waysMs = [];
    this.measuredAtMs = nowMs;
    const trip = await measure(this.pace()).catch(() => undefined);
    this.isMeasuring = false;
    // An event loop that was busy for most of it says nothing of the way.
    if (!trip || trip.waitedMs < trip.tookMs / 2) return;
    this.waysMs = [...this.waysMs, trip.waitedMs].slice(-roundTripsMax);
    const wayMs = leastOf(this.waysMs);
    if (this.waysMs.length < roundTripsMin || wayMs === undefined) return;
    this.isFar = wayMs > (this.isFar ? nearMs : farMs);
  }
}

/** The way is in each round trip; what one takes longer than the shortest, it waited for a processor. */
const leastOf = (waysMs: readonly number[]): number | undefined =>
  waysMs.length === 0 ? undefined : Math.min(...waysMs);
