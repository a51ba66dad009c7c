/**
 * The budget authority of one tenant: every reserve, commit and release of the tenant comes here as a signal, and
 * all are decided in one order. The workflow orders, batches and times; each batch is decided and recorded in Postgres by
 * one activity, which also answers the callers. So there is one copy of the state, and this history only says what was
 * passed on and when.
 *
 * Commands that arrive while a batch is being recorded form the next one. An authority with nothing to do completes; the
 * next signal starts it again. One that has taken many signals continues as new, and hands over what waits: when that is more
 * than the next execution can be given, it goes on deciding until it is not. Meanwhile the server takes 10,000 signals in all and
 * refuses the next, so that gets there however many come.
 */
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { readCommands } from '../../core/inputs/read-signals';
import { problemOfBudget } from '../../core/inputs/workflow-inputs';
import { BatchRecorder } from './batch-recorder';
import { refuseNonsense } from '../inputs';
import { Mailbox } from './mailbox';
import { isPatched } from '../patches';
import {
  budgetCommandsSignal,
  budgetStateQuery,
  budgetWorkflowId,
  type BudgetState,
  type TenantBudgetInput,
} from '../../contracts/messages';
import { quotaTable } from './quota-table';

/**
 * After this many signals the authority continues as new. The server would take 10,000, but a signal that arrives during the
 * task that continues as new makes that task run again from the start of the history: a short one is quickly replayed.
 */
const signalsMax = 200;
const historyBytesMax = 8 * 1024 * 1024;
/** From this size on it continues as new whatever it leaves behind: the server ends an execution at 50 MB, with all that waits. */
const historyBytesLast = 32 * 1024 * 1024;
/** An authority with nothing open and nothing to do completes after this long. */
const idleMs = 60_000;
/** The shortest wait for an expiry: the clocks of Postgres and of Temporal differ a little. */
const wakeUpMsMin = 200;

export async function tenantBudget(input: TenantBudgetInput): Promise<void> {
  refuseNonsense(problemOfBudget(input), { prefix: budgetWorkflowId(''), field: 'tenantId', id: input?.tenantId });
  const { tenantId, carried = [], last } = input;
  const mailbox = new Mailbox(readCommands(carried).commands);
  const recorder = new BatchRecorder(tenantId);
  const alarm = new Alarm();
  let signals = 0;
  let state: BudgetState = { tenantId, quotas: [], waiting: 0, ...last, batches: 0 };
  if (last) setCurrentDetails(quotaTable(state));
  let notTaken = 0;
  const show = (): void => setCurrentDetails(`${quotaTable(state)}${notTakenLine(notTaken)}`);
  setHandler(budgetCommandsSignal, (given: unknown) => {
    signals += 1;
    const read = readCommands(given);
    notTaken += read.notTaken;
    if (read.notTaken > 0) show();
    mailbox.add(read.commands);
  });
  setHandler(budgetStateQuery, () => ({ ...state, waiting: mailbox.size }));

  let nextWakeUpMs = last?.nextWakeUpAt === undefined ? undefined : Date.parse(last.nextWakeUpAt);
  let idleSinceMs = Date.now();
  for (;;) {
    alarm.setFor(nextWakeUpMs === undefined ? idleSinceMs + idleMs : Math.max(nextWakeUpMs, Date.now() + wakeUpMsMin));
    await condition(() => mailbox.size > 0 || alarm.rang);
    const isDue = nextWakeUpMs !== undefined && nextWakeUpMs <= Date.now();
    if (mailbox.size > 0 || isDue) {
      const isLast = isFull(signals);
      const result = await recorder.record(mailbox, { continuing: isLast });
      nextWakeUpMs = result.nextWakeUpMs;
      idleSinceMs = Date.now();
      state = {
        tenantId,
        quotas: result.quotas,
        waiting: mailbox.size,
        batches: state.batches + 1,
        ...(nextWakeUpMs === undefined ? {} : { nextWakeUpAt: new Date(nextWakeUpMs).toISOString() }),
        ...(result.mandate ? { mandate: result.mandate } : {}),
      };
      show();
      if (isLast) await startAnew({ tenantId, mailbox, recorder, alarm, last: state });
    } else if (nextWakeUpMs === undefined && Date.now() >= idleSinceMs + idleMs) {
      await recorder.alertsSent();
      await recorder.drawn();
      await recorder.returnLeases();
      await condition(allHandlersFinished);
      // A signal that came meanwhile makes the server refuse this end, and the authority goes on.
      if (mailbox.size === 0) return;
    }
  }
}

/** Of what somebody sent past the product. */
const notTakenLine = (count: number): string =>
  count === 0 ? '' : `\n\n**Not taken:** ${count} of what came by signal, which was no command.`;

const isFull = (signals: number): boolean =>
  signals >= signalsMax || workflowInfo().historySize >= historyBytesMax || workflowInfo().continueAsNewSuggested;

/**
 * Continues as new in a task that does nothing else: a signal that arrives during that task makes it run again, and
 * everything it did with it. An activity that does nothing comes before; a short timer would do, but servers fire timers up
 * to a second late. Returns when there is more to decide first.
 */
async function startAnew(authority: {
  tenantId: string;
  mailbox: Mailbox;
  recorder: BatchRecorder;
  alarm: Alarm;
  last: BudgetState;
}): Promise<void> {
  const { tenantId, mailbox, recorder, alarm, last } = authority;
  const losesNothing = isPatched('drained');
  const mustDecide = (): boolean => losesNothing && !mailbox.fits && workflowInfo().historySize < historyBytesLast;
  if (mustDecide()) return;
  await recorder.alertsSent();
  await recorder.drawn();
  alarm.cancel();
  await recorder.nextTask();
  if (mustDecide()) return;
  while (losesNothing && !mailbox.fits) await recorder.leaveBehind(mailbox.takeExcess());
  await continueAsNew<typeof tenantBudget>({ tenantId, carried: mailbox.carry(), last });
}

/** One timer at a time, kept while it rings early enough: most batches then need no timer of their own. */
class Alarm {
  rang = false;
  private atMs = Infinity;
  private scope: CancellationScope | undefined;

  setFor(atMs: number): void {
    this.rang = false;
    if (this.atMs <= atMs) return;
    this.cancel();
    this.atMs = atMs;
    const scope = new CancellationScope();
    this.scope = scope;
    void scope
      .run(async () => {
        await sleep(Math.max(1, atMs - Date.now()), { summary: 'next expiry, or an end for want of work' });
        this.rang = true;
        this.atMs = Infinity;
        this.scope = undefined;
      })
      .catch(() => undefined);
  }

  cancel(): void {
    this.scope?.cancel();
    this.scope = undefined;
    this.atMs = Infinity;
  }
}
