/**
 * What Temporal UI shows of a run or a conversation while it goes on and afterwards: its paid steps as a table, who refused it,
 * and, for the list of workflows, what it cost and whether it holds money now. No word of a prompt or an answer is in it.
 */
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { SearchAttributePair } from '@temporalio/common';
import type { CostSoFar, SettledStep } from '../../contracts/runs';
import { markdownTable, withoutDollarSigns } from '../markdown';
import type { ApprovalDesk } from './approvals';
import type { StepLine } from '../budget/step-line';
import type { Budget } from '../budget/with-budget';
import {
  costUsdAttribute,
  deniedAttribute,
  holdsMoneyAttribute,
  runStatusAttribute,
  type RunProgress,
} from '../../contracts/messages';
import { isPatched } from '../patches';
import type { SandboxSession } from './sandbox-session';
import type { TimeLimit } from './time-limit';

const columns = [
  { name: 'step', isText: true },
  { name: 'state', isText: true },
  { name: 'asked for USD' },
  { name: 'holds' },
  { name: 'cost' },
];

/** The page has the latest steps; all of them are in Postgres. */
const linesMax = 25;

/**
 * Has a page show what becomes of the steps of a budget. While one of them waits for money the time limit stands still and the
 * sandbox rests.
 */
export function showOn(
  page: RunPage,
  {
    budget,
    limit,
    sandbox,
    desk,
  }: {
    budget: Pick<Budget, 'onStep' | 'onDenial' | 'onHeard' | 'whileWaiting'>;
    limit: Pick<TimeLimit, 'standStill'>;
    sandbox: Pick<SandboxSession, 'pause'>;
    desk: Pick<ApprovalDesk, 'onHeard'>;
  },
): void {
  budget.onStep = (line) => page.note(line);
  desk.onHeard = budget.onHeard = (problem) => page.noteNotTaken(problem);
  budget.onDenial = (message) => page.noteDenial(message);
  budget.whileWaiting = (wait) =>
    limit.standStill(async () => {
      await sandbox.pause();
      await page.whileWaiting(wait);
    });
}

export class RunPage {
  readonly progress: RunProgress = { step: 0, doing: 'starting' };
  private turnId: string | undefined;
  private readonly lines = new Map<string, StepLine>();
  private denial: string | undefined;
  private notTaken: string | undefined;
  private holdsMoney: boolean | undefined;

  /** What is being done now. */
  show(step: number, doing: string, turnId?: string): void {
    this.turnId = turnId;
    Object.assign(this.progress, { step, doing });
    this.render();
  }

  /** A paid step has come further. */
  note({ operationId, ...line }: Partial<StepLine> & { operationId: string }): void {
    const known = this.lines.get(operationId);
    if (!known && line.kind === undefined) return;
    this.lines.set(operationId, { ...known, ...line, operationId } as StepLine);
    const [oldest] = this.lines.keys();
    if (this.lines.size > linesMax && oldest !== undefined) this.lines.delete(oldest);
    this.render();
  }

  /** A step was refused its money. */
  noteDenial(message: string): void {
    this.denial = message;
    this.render();
  }

  /** What somebody sent by hand and was not taken, or that what came last was. */
  noteNotTaken(problem: string | undefined): void {
    if (this.notTaken === problem) return;
    this.notTaken = problem;
    this.render();
  }

  get wasDenied(): boolean {
    return this.denial !== undefined;
  }

  /** Whether money is held, for the list of workflows. Written when it changes. */
  holding(holdsMoney: boolean, more: SearchAttributePair[] = []): void {
    if (this.holdsMoney === holdsMoney && more.length === 0) return;
    this.holdsMoney = holdsMoney;
    if (isPatched('run-page')) upsertSearchAttributes([{ key: holdsMoneyAttribute, value: holdsMoney }, ...more]);
  }

  /** Shows, for as long as a wait for money takes, that it waits and holds none. */
  async whileWaiting(wait: () => Promise<void>): Promise<void> {
    this.holding(false, [
      { key: runStatusAttribute, value: 'waiting_for_money' },
      { key: deniedAttribute, value: true },
    ]);
    await wait();
    this.holding(true, [{ key: runStatusAttribute, value: 'running' }]);
  }

  /** What a turn of a conversation came to. */
  turnEnded({
    status,
    costUsd,
    steps,
    holdsMoney,
  }: Partial<CostSoFar> & { status: string; holdsMoney: boolean }): void {
    this.settled(steps);
    this.holding(holdsMoney, [
      ...costOf(costUsd),
      ...(status === 'quota_exceeded' ? [{ key: deniedAttribute, value: true } as SearchAttributePair] : []),
    ]);
  }

  /** The end. Old histories have this command with the status alone. */
  ended({ status, costUsd, steps }: Partial<CostSoFar> & { status: string }): void {
    this.settled(steps);
    this.show(this.progress.step, status, this.turnId);
    upsertSearchAttributes([
      { key: runStatusAttribute, value: status },
      { key: holdsMoneyAttribute, value: false },
      { key: deniedAttribute, value: this.wasDenied || status === 'quota_exceeded' },
      ...costOf(costUsd),
    ]);
  }

  private settled(steps: readonly SettledStep[] = []): void {
    for (const step of steps) this.note(step);
  }

  private render(): void {
    const { step, doing } = this.progress;
    const now = this.turnId === undefined ? `Step ${step}: ${doing}` : `Turn ${this.turnId}, step ${step}: ${doing}`;
    const rows = [...this.lines.values()].map(({ step: at, kind, attempt, state, ...amounts }) => [
      `${at === undefined ? '' : `${at} `}${kind}${attempt > 1 ? `, attempt ${attempt}` : ''}`,
      state,
      amounts.askedUsd,
      state === 'holds' ? (amounts.heldUsd ?? '') : '',
      `${amounts.costUsd ?? ''}${amounts.unverified ? ' unverified' : ''}`,
    ]);
    const parts = [`**${now}**`];
    if (this.denial !== undefined) parts.push(`**Refused:** ${withoutDollarSigns(this.denial)}`);
    if (this.notTaken !== undefined) parts.push(`**Not taken:** ${this.notTaken}`);
    if (rows.length > 0) parts.push(markdownTable(columns, rows));
    setCurrentDetails(parts.join('\n\n'));
  }
}

/** For searching only: the exact amount is in the ledger. */
const costOf = (costUsd: string | undefined): SearchAttributePair[] =>
  costUsd === undefined ? [] : [{ key: costUsdAttribute, value: Number(costUsd) }];
