/**
 * Where the callers of one process wait for their answers. An authority that decides in the same process posts them
 * here after its commit; answers of one elsewhere are looked up in Postgres, all that wait in one query a tenant. A caller
 * that has no answer in time asks in a way that can wait longer: what was decided stays on record.
 */
import type { Logger } from '../../telemetry/log';
import type { ReserveAnswer, ReserveCommand } from '../../core/budget/commands';
import { answerFromRecord } from '../../core/budget/requests';
import { inOneSpelling } from '../../core/ids';
import type { Reservation } from '../../core/budget/reservations';
import { measureAnswer } from '../../telemetry/metrics';
import { processClock, type Clock } from './clock';

/** How often Postgres is asked for an answer that was not posted, unless told otherwise: at first. */
const defaultLookUpMs = 25;
/** Who has waited long is looked up less often: each time after this share of the wait so far. */
const lookUpShare = 0.25;

export interface PendingRepliesOptions {
  /** Looks up in Postgres what became of what a tenant asked for. */
  read: (asked: { tenantId: string; commands: readonly ReserveCommand[] }) => Promise<Reservation[]>;
  log: Logger;
  lookUpMs?: number;
  clock?: Clock;
}

interface PendingReply {
  tenantId: string;
  command: ReserveCommand;
  resolve: (answer: ReserveAnswer | undefined) => void;
  askedAtMs: number;
  lookUpAtMs: number;
}

/** Tenants choose the ids of their operations, so two may choose the same. A tenant's id has no space in it. */
export const placeOf = (tenantId: string, operationId: string): string => `${tenantId} ${inOneSpelling(operationId)}`;

export class PendingReplies {
  /** By tenant and operation. Several may wait for one, even with different requests: each gets its own answer. */
  private readonly waiting = new Map<string, PendingReply[]>();
  /** Whether a look into Postgres is due or under way. */
  private looks = false;
  /** The tenant that is looked up now, until its look has ended. */
  private looking: { tenantId: string; ended: Promise<void> } | undefined;
  private readonly read: PendingRepliesOptions['read'];
  private readonly log: Logger;
  private readonly lookUpMs: number;
  private readonly clock: Clock;

  constructor({ read, log, lookUpMs = defaultLookUpMs, clock = processClock }: PendingRepliesOptions) {
    this.read = read;
    this.log = log;
    this.lookUpMs = lookUpMs;
    this.clock = clock;
  }

  /** Hands on the answer to a command whose decision has committed. One that nobody waits for here is left alone. */
  post(tenantId: string, answer: ReserveAnswer, isAnswered: (command: ReserveCommand) => boolean): void {
    const waiting = this.waiting.get(placeOf(tenantId, answer.operationId)) ?? [];
    for (const one of [...waiting]) if (isAnswered(one.command)) one.resolve(answer);
  }

  /** The answer to a command; undefined when there was none in time. Begin to wait before the command is sent. */
  async wait(tenantId: string, command: ReserveCommand, timeoutMs: number): Promise<ReserveAnswer | undefined> {
    const askedAtMs = this.clock.nowMs();
    const place = placeOf(tenantId, command.operationId);
    const answer = await new Promise<ReserveAnswer | undefined>((resolve) => {
      const one: PendingReply = {
        tenantId,
        command,
        askedAtMs,
        lookUpAtMs: askedAtMs + this.lookUpMs,
        resolve: (given) => {
          cancelTimeout();
          this.forget(place, one);
          resolve(given);
        },
      };
      const cancelTimeout = this.clock.after(timeoutMs, () => one.resolve(undefined));
      this.waiting.set(place, [...(this.waiting.get(place) ?? []), one]);
      this.lookUpLater();
    });
    // Counted once, also where an answer comes twice or after the time.
    measureAnswer((this.clock.nowMs() - askedAtMs) / 1_000, answer ? 'answered' : 'none');
    return answer;
  }

  /** Resolves once no look at a tenant's answers is under way that was begun before. */
  looked(tenantId: string): Promise<void> {
    return this.looking?.tenantId === tenantId ? this.looking.ended : Promise.resolve();
  }

  private forget(place: string, one: PendingReply): void {
    const left = (this.waiting.get(place) ?? []).filter((other) => other !== one);
    if (left.length > 0) this.waiting.set(place, left);
    else this.waiting.delete(place);
  }

  private lookUpLater(): void {
    if (this.looks) return;
    this.looks = true;
    this.clock.after(this.lookUpMs, () => {
      void this.lookUp(this.due()).finally(() => {
        this.looks = false;
        if (this.waiting.size > 0) this.lookUpLater();
      });
    });
  }

  /** Who has waited for long enough to be looked up. */
  private due(): PendingReply[] {
    const nowMs = this.clock.nowMs();
    const due = [...this.waiting.values()].flat().filter(({ lookUpAtMs }) => lookUpAtMs <= nowMs);
    for (const one of due) one.lookUpAtMs = nowMs + (nowMs - one.askedAtMs) * lookUpShare;
    return due;
  }

  private async lookUp(asked: readonly PendingReply[]): Promise<void> {
    const byTenant = new Map<string, PendingReply[]>();
    for (const waiting of asked) byTenant.set(waiting.tenantId, [...(byTenant.get(waiting.tenantId) ?? []), waiting]);
    for (const [tenantId, all] of byTenant) {
      // Who was answered while others were looked up is not told of a grant by the record any more.
      const waiting = all.filter((one) => this.waiting.get(placeOf(tenantId, one.command.operationId))?.includes(one));
      if (waiting.length === 0) continue;
      // A tenant whose answers cannot be read keeps no other from its own.
      const ended = this.lookUpOf(tenantId, waiting).catch((error: unknown) =>
        this.log.debug({ tenantId, error }, 'answers could not be looked up'),
      );
      this.looking = { tenantId, ended };
      await ended;
    }
    this.looking = undefined;
  }

  private async lookUpOf(tenantId: string, all: readonly PendingReply[]): Promise<void> {
    const found = await this.read({ tenantId, commands: all.map(({ command }) => command) });
    const byId = new Map(found.map((reservation) => [reservation.operationId, reservation]));
    for (const { command, resolve } of all) {
      const reservation = byId.get(inOneSpelling(command.operationId));
      if (reservation) resolve(answerFromRecord(reservation, command));
    }
  }
}
