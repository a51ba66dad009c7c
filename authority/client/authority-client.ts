/**
 * How a process beside the workers reaches its tenants' authorities: commands go by coalesced signals, answers come back
 * by notification, outcomes are written to Postgres and folded by the authority.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { Logger } from '../../telemetry/log';
import type { BudgetCommand, Enforced, ReserveAnswer, ReserveCommand } from '../../core/budget/commands';
import { withoutEnvelope } from '../../core/budget/envelopes';
import { inOneSpelling } from '../../core/ids';
import { listenForAnswers } from '../../store/answers';
import type { Listener } from '../../store/listener';
import { allowUnreserved, readReservations } from '../../store/decided';
import type { OutcomeAnswer, OutcomeItem } from '../../store/outcomes';
import type { Pool } from '../../store/pool';
import { findKnown, findUnfolded } from '../../store/reservations';
import { measureAnswer } from '../../telemetry/metrics';
import { Askers, leftWith, type Asked } from './askers';
import { Coalescer } from './coalescer';
import { processClock, settledWithin } from './clock';
import { heldUpMs } from './direct-decisions';
import { directDecisions } from './direct-pool';
import { KnownLooks } from './known-looks';
import { OutcomeWriter } from './outcome-writer';
import { PendingReplies, placeOf } from './pending-replies';
import { TemporalSignals } from './signals';

/** Notifications are the rule; this is how long a lost one is missed. */
const lookUpMs = 500;
/** Every decision folds the outcomes that wait; this is how long they wait for one. */
const foldMs = 250;
/** How long an ending process tries to send what waits. */
const drainMsMax = 5_000;
/**
 * Who has no answer by then asks again, each time after twice as long, give or take a quarter: sooner where it may be decided here, and
 * first after `heldUpMs` where somebody held its tenant up.
 */
const askAgainMs = 2_000;
const decideAgainMs = 1_000;

/** How a caller asks for money. */
interface AskOptions {
  timeoutMs: number;
  /** Whether it goes on without a grant where nobody answers. */
  allow?: boolean;
  /** Aborted when it has gone. */
  gone?: AbortSignal;
  /** It asks again for an answer that it did not hear. */
  comesBack?: boolean;
}

export class AuthorityClient {
  private readonly coalescer: Coalescer;
  private readonly replies: PendingReplies;
  private readonly outcomes: OutcomeWriter;
  private readonly looks: KnownLooks;
  private readonly foldLooks: KnownLooks;
  private readonly askers: Askers;
  private readonly listener: Listener;
  private readonly decisions: ReturnType<typeof directDecisions> | undefined;
  private waiters = 0;
  /** Releases that wait for what was asked in their callers' names. */
  private readonly releases = new Set<Promise<void>>();
  private readonly channel: string;

  constructor(
    private readonly dependencies: {
      pool: Pool;
      temporal: Client;
      taskQueue: string;
      log: Logger;
      /** Whether quotas of a resource bind. */
      enforced: Enforced;
      /** Whether it decides by itself under mandates. */
      mandates?: boolean | undefined;
    },
  ) {
    const { pool, temporal, taskQueue, log } = dependencies;
    const name = randomBytes(8).toString('hex');
    this.channel = `spendlock_answers_${name}`;
    this.askers = new Askers(name);
    this.coalescer = new Coalescer({ signals: new TemporalSignals({ client: temporal, taskQueue }), lazyMs: foldMs });
    this.replies = new PendingReplies({ read: (asked) => readReservations(pool, asked), log, lookUpMs });
    this.outcomes = new OutcomeWriter(pool);
    const { mandates = false, enforced } = dependencies;
    this.decisions = mandates ? directDecisions({ pool, enforced, coalescer: this.coalescer, log }) : undefined;
    this.looks = new KnownLooks((tenantId, operationIds) => findKnown(pool, { tenantId, operationIds }));
    this.foldLooks = new KnownLooks(async (tenantId, operationIds) => {
      const unfolded = await findUnfolded(pool, { tenantId, operationIds });
      return new Set(operationIds.filter((operationId) => !unfolded.has(operationId)));
    });
    this.listener = listenForAnswers(pool, {
      channel: this.channel,
      onNotice: ({ tenantId, continuing, answers }) => {
        if (continuing) this.coalescer.holdBack(tenantId);
        for (const { waiter, answer } of answers)
          this.replies.post(tenantId, answer, ({ replyTo }) => waiterOf(replyTo) === waiter);
      },
    });
  }

  /**
   * Asks for money. When the authority does not answer in time, the call is let through without a grant, on record, where
   * `allow` says so; otherwise undefined: nothing is held then, the request was released. What a caller that is gone was granted is
   * released too, unless it `comesBack` for the answer, or somebody else, here or elsewhere, asked for the same and was told of it.
   */
  async reserve(tenantId: string, asked: ReserveCommand, options: AskOptions): Promise<ReserveAnswer | undefined> {
    const { gone, comesBack = false } = options;
    const { operationId } = asked;
    const { asker, during, leave } = this.askers.enter(placeOf(tenantId, operationId));
    let answer: ReserveAnswer | undefined;
    try {
      answer = await this.ask(tenantId, { ...asked, asker }, { ...options, during });
      return answer;
    } finally {
      during(this.replies.looked(tenantId));
      const mayBeReleased = leave(leftWith(answer, { isGone: gone?.aborted === true && !comesBack }));
      if (mayBeReleased) this.releaseAfter(mayBeReleased, tenantId, { type: 'release', operationId, asker });
    }
  }

  private releaseAfter(mayBeReleased: Promise<void>, tenantId: string, release: BudgetCommand): void {
    const released = mayBeReleased.then(() => {
      this.releases.delete(released);
      this.send(tenantId, release);
    });
    this.releases.add(released);
  }

  private async ask(
    tenantId: string,
    asked: ReserveCommand,
    { timeoutMs, allow = false, gone, during }: AskOptions & Pick<Asked, 'during'>,
  ): Promise<ReserveAnswer | undefined> {
    const { answer: direct, leftMs } = await this.decideDirectly(tenantId, asked, { timeoutMs, during });
    if (direct) return direct;
    const command = { ...asked, replyTo: { channel: this.channel, waiter: (this.waiters += 1) } };
    const waiting = this.replies.wait(tenantId, command, leftMs);
    this.send(tenantId, command, waiting);
    const answer = await waiting.finally(this.askAgain(tenantId, command, { answered: waiting, during }));
    if (answer || !allow || gone?.aborted || !withoutEnvelope(asked)) return answer;
    const { pool, enforced, log } = this.dependencies;
    log.warn(
      { tenantId, operationId: asked.operationId },
      'a call goes on without a grant: its authority did not answer, and its policy allows it',
    );
    return allowUnreserved(pool, { tenantId, command: asked, enforced });
  }

  /** Under the tenant's mandate, where there is one. What is not decided in time, or not here, has the rest of the time. */
  private async decideDirectly(
    tenantId: string,
    asked: ReserveCommand,
    { timeoutMs, during }: { timeoutMs: number } & Pick<Asked, 'during'>,
  ): Promise<{ answer?: ReserveAnswer | undefined; leftMs: number }> {
    if (!this.decisions) return { leftMs: timeoutMs };
    const startedMs = processClock.nowMs();
    let answer: ReserveAnswer | undefined;
    const deciding = this.decisions.direct.decide(tenantId, asked).then((decided) => (answer = decided?.answer));
    during(deciding);
    await settledWithin(processClock, timeoutMs, deciding);
    const tookMs = processClock.nowMs() - startedMs;
    if (answer) measureAnswer(tookMs / 1_000, 'answered');
    return { answer, leftMs: Math.max(1, timeoutMs - tookMs) };
  }

  /**
   * Sends a command again for as long as nobody answers: an authority that was ended took what it had not decided with it. One
   * that was decided is answered from the record, so sending it again is harmless. Under a mandate it is decided here, if it can be by
   * now: who holds its authority up is no reason to wait.
   */
  private askAgain(
    tenantId: string,
    command: ReserveCommand,
    { answered, during }: { answered: Promise<unknown> } & Pick<Asked, 'during'>,
  ): () => void {
    let timer: NodeJS.Timeout | undefined;
    const again = async (): Promise<void> => {
      const answer = (await this.decisions?.direct.decide(tenantId, command, { isOverdue: true }))?.answer;
      if (answer) this.replies.post(tenantId, answer, (waiting) => waiting === command);
      else this.send(tenantId, command, answered);
    };
    const after = (ms: number): void => {
      timer = setTimeout(
        () => {
          during(again());
          after(ms * 2);
        },
        ms * (0.75 + Math.random() / 2),
      );
    };
    const { direct } = this.decisions ?? {};
    after(direct ? (direct.isHeldUp(tenantId) ? heldUpMs : decideAgainMs) : askAgainMs);
    return () => clearTimeout(timer);
  }

  /** Resolves once Postgres holds the outcome. */
  async writeOutcome(tenantId: string, item: OutcomeItem): Promise<OutcomeAnswer> {
    const answer = await this.outcomes.write(tenantId, item);
    if (answer.written) this.fold(tenantId);
    return answer;
  }

  /** Has outcomes folded soon, by the tenant's next decision at the latest. */
  fold(tenantId: string): void {
    const nudge = (): void => void this.coalescer.nudge(tenantId).catch((error: unknown) => this.note(tenantId, error));
    if (this.decisions) this.decisions.direct.look(tenantId, nudge);
    else nudge();
  }

  /** Has an operation's outcome folded now, where it waits for that. Whether it waits no more before that time is over. */
  async folded(tenantId: string, operationId: string, timeoutMs: number): Promise<boolean> {
    const unfolded = await findUnfolded(this.dependencies.pool, { tenantId, operationIds: [operationId] });
    if (unfolded.size === 0) return true;
    this.reload(tenantId);
    return this.foldLooks.wait(tenantId, inOneSpelling(operationId), timeoutMs);
  }

  /** Gives up an operation that nobody has heard of yet. Whether its mark is there before that time is over. */
  async releaseUnknown(tenantId: string, operationId: string, timeoutMs: number): Promise<boolean> {
    this.send(tenantId, { type: 'release', operationId });
    return this.looks.wait(tenantId, inOneSpelling(operationId), timeoutMs);
  }

  /** Sends a command that nobody waits for. One that Temporal refuses is logged: the record and its expiry remain. */
  send(tenantId: string, command: BudgetCommand, answered?: Promise<unknown>): void {
    this.coalescer.send(tenantId, command, answered).catch((error: unknown) => this.note(tenantId, error));
  }

  /** Says that limits changed. They hold without it: every decision reads them. */
  reload(tenantId: string): void {
    this.send(tenantId, { type: 'reload' });
  }

  /** Sends what waits, for some seconds at most, then listens no longer. What is not sent is in Postgres, or runs out. */
  async close(): Promise<void> {
    const givenUp = new AbortController();
    await this.decisions?.close();
    await Promise.race([
      Promise.all(this.releases).then(() => this.coalescer.drain()),
      sleep(drainMsMax, undefined, { signal: givenUp.signal }).catch(() => undefined),
    ]);
    givenUp.abort();
    await this.listener.stop();
  }

  private note(tenantId: string, error: unknown): void {
    this.dependencies.log.warn({ tenantId, error }, 'a budget command could not be sent');
  }
}

const waiterOf = (replyTo: ReserveCommand['replyTo']): number | undefined =>
  replyTo && 'waiter' in replyTo ? replyTo.waiter : undefined;
