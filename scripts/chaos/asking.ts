/**
 * Runs that ask people for money, each of a user of its own who may spend next to nothing, and people who answer: once, twice at once, too
 * little, too late, or not at all.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer, Caller } from './caller';
import type { Chance } from './random';
import { hasEnded, type Begun } from './scene';

export const askingTenant = 'chaos-asking';
/** What each of its users may spend in a day. */
export const askingUserLimitUsd = 0.0001;

const habits = ['grants', 'refuses', 'both', 'contradicts', 'repeats', 'too little', 'too late', 'nobody'] as const;
type Habit = (typeof habits)[number];

/** What somebody said, and was answered. */
export interface Said {
  requestId: string;
  author: string;
  decision: 'grant' | 'refuse';
  amountUsd?: string;
  /** Undefined where there was no answer. */
  status: number | undefined;
  /** From when to when it was asked for, in milliseconds since 1970. */
  fromMs: number;
  toMs: number;
}

export interface Asker {
  runId: string;
  userId: string;
  habit: Habit;
  said: Said[];
  /** Somebody cancelled it. */
  isCancelled: boolean;
  /** Its end was seen before somebody answered too late. */
  isLate: boolean;
}

/** How long one is waited for that nobody answers, and which bound a wait then has. */
const shortDays = 8 / 86_400;
/** A request is made within that, if it is; and a run ends within that once it is answered: upkeep tells again what was not heard. */
const askedMs = 60_000;
const endedMs = 180_000;
/** With that no step fits. */
const tooLittleUsd = '0.0001';

export class Askers {
  readonly askers: Asker[] = [];

  constructor(
    private readonly chance: Chance,
    private readonly load: Pick<Begun, 'runs'> & { readonly caller: Caller },
  ) {}

  /** One run, from its start to its end. */
  async once(): Promise<void> {
    const { chance, load } = this;
    const userId = `asker-${randomUUID()}`;
    const habit = chance.oneOf(habits);
    const body = {
      ...{ tenantId: askingTenant, userId, task: 'Say something.', onDenied: 'ask' },
      askDays: habit === 'nobody' ? shortDays : 1,
    };
    const answer = await load.caller.insist('POST', '/v1/runs', body, { 'idempotency-key': randomUUID() });
    if (answer?.status !== 202) return void (await sleep(1_000));
    const runId = String(answer.body.runId);
    load.runs.push({ tenantId: askingTenant, runId, atMs: Date.now() });
    const asker: Asker = { runId, userId, habit, said: [], isCancelled: false, isLate: false };
    this.askers.push(asker);
    const request = await this.requestOf(asker);
    if (request !== undefined) await this.answer(asker, request);
    if (await this.isOver(asker, request === undefined ? 0 : endedMs)) return;
    await this.cancel(asker);
    await this.isOver(asker, endedMs);
  }

  /** What a run asks for, besides what it asked before; nothing where it ends without. */
  private async requestOf({ runId }: Asker, before?: string): Promise<string | undefined> {
    const where = `/v1/money-requests?tenantId=${askingTenant}&runId=${runId}`;
    for (const giveUpMs = Date.now() + askedMs; Date.now() < giveUpMs; await sleep(300)) {
      const found = ((await this.load.caller.call('GET', where))?.body.requests ?? []) as {
        requestId: string;
        status: string;
      }[];
      const request = found.find(({ requestId, status }) => status === 'pending' && requestId !== before);
      if (request) return request.requestId;
      if (hasEnded(await this.shown(runId))) return undefined;
    }
    return undefined;
  }

  private async answer(asker: Asker, requestId: string): Promise<void> {
    const { chance } = this;
    const say = (author: string, decision: Said['decision'], more: { key?: string; amountUsd?: string } = {}) =>
      this.say(asker, { requestId, author, decision, ...more });
    await sleep(chance.between(0, 1_500));
    switch (asker.habit) {
      case 'grants':
        return say('Jo', 'grant');
      case 'refuses':
        return say('Jo', 'refuse');
      case 'both':
        return void (await Promise.all([say('Jo', 'grant'), say('Kim', 'grant')]));
      case 'contradicts':
        return void (await Promise.all([say('Jo', 'grant'), say('Kim', 'refuse')]));
      case 'repeats': {
        const key = randomUUID();
        return void (await Promise.all([say('Jo', 'grant', { key }), say('Jo', 'grant', { key }), say('Jo', 'grant')]));
      }
      case 'too little': {
        await say('Jo', 'grant', { amountUsd: tooLittleUsd });
        const next = await this.requestOf(asker, requestId);
        return next === undefined ? undefined : this.say(asker, { requestId: next, author: 'Kim', decision: 'grant' });
      }
      case 'too late':
        await this.cancel(asker);
        asker.isLate = await this.isOver(asker, endedMs);
        return say('Jo', 'grant');
      case 'nobody':
        return;
    }
  }

  private async say(
    asker: Asker,
    { key, requestId, ...said }: Pick<Said, 'requestId' | 'author' | 'decision' | 'amountUsd'> & { key?: string },
  ): Promise<void> {
    const fromMs = Date.now();
    const answer: Answer | undefined = await this.load.caller.insist(
      'POST',
      `/v1/money-requests/${requestId}`,
      { tenantId: askingTenant, ...said },
      key === undefined ? {} : { 'idempotency-key': key },
    );
    asker.said.push({ requestId, ...said, status: answer?.status, fromMs, toMs: Date.now() });
  }

  private async cancel(asker: Asker): Promise<void> {
    asker.isCancelled = true;
    await this.load.caller.insist('POST', `/v1/runs/${asker.runId}/cancel`, { tenantId: askingTenant });
  }

  private shown(runId: string): Promise<Answer | undefined> {
    return this.load.caller.call('GET', `/v1/runs/${runId}?tenantId=${askingTenant}`);
  }

  private async isOver({ runId }: Asker, withinMs: number): Promise<boolean> {
    for (const giveUpMs = Date.now() + withinMs; ; await sleep(500)) {
      if (hasEnded(await this.shown(runId))) return true;
      if (Date.now() >= giveUpMs) return false;
    }
  }
}
