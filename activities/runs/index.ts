/** What runs, conversations and their turns leave in Postgres, and what people are asked. */
import { isUnreadable, readApprovalSignal } from '../../core/inputs/read-signals';
import type { Coalescer } from '../../authority/client/coalescer';
import type { Logger } from '../../telemetry/log';
import type { Pool } from '../../store/pool';
import {
  decideApproval,
  openApprovals,
  takeDecisions,
  withdrawApprovals,
  type NewApproval,
} from '../../store/approvals';
import { readMisfits } from '../../store/misfits';
import { readRunCost, readSettledSteps } from '../../store/run-steps';
import { endRun } from '../../store/run-end';
import { findRun } from '../../store/runs';
import { readTranscript, replySequence } from '../../store/transcripts';
import { beginTurn, endTurn } from '../../store/turns';
import { attachmentLine } from '../llm/instructions';
import type { Block } from '../llm/model-provider';
import type { CostSoFar, RunActivities, RunFailureText } from '../../contracts/runs';
import { awaitCutCalls } from './cut-calls';
import { releaseUnclaimed } from './release-unclaimed';
import { failure } from '../failures';

export interface RunDependencies {
  pool: Pool;
  coalescer: Coalescer;
  log: Logger;
}

/** What else a workflow is told waits while it asks within its task: it does not do so for somebody's lock. */
const quickLockMs = 100;

export function createRunActivities({ pool, coalescer, log }: RunDependencies): RunActivities {
  return {
    beginTurn: (message) => takeTurn({ pool, log }, message),
    beginTurnQuickly: async (message) => ({
      begun: await takeTurn({ pool, log }, message, quickLockMs),
    }),

    async endRun({ tenantId, runId, status, failure, stoppedBy }) {
      await awaitCutCalls(pool, { tenantId, runId });
      const answer = status === 'completed' ? await lastText(pool, { tenantId, runId }) : undefined;
      await endRun(
        pool,
        { tenantId, runId },
        { status, answer, failure: await withMisfits(pool, { tenantId, runId }, failure), stoppedBy },
      );
      await releaseUnclaimed({ pool, coalescer }, { tenantId, runId });
      log.info({ tenantId, runId, status, code: failure?.code }, 'a run ended');
      return costSoFar(pool, { tenantId, runId });
    },

    async endTurn({ tenantId, runId, ...turn }) {
      const failure = await withMisfits(pool, { tenantId, runId }, turn.failure);
      await endTurn(pool, { tenantId, runId }, { ...turn, failure });
      log.info({ tenantId, runId, turnId: turn.turnId, status: turn.status, code: turn.failure?.code }, 'a turn ended');
      return costSoFar(pool, { tenantId, runId, turnId: turn.turnId });
    },

    async endConversation({ tenantId, runId, status, failure }) {
      await awaitCutCalls(pool, { tenantId, runId });
      const message = 'The conversation ended before the message was answered.';
      const unanswered = { code: 'conversation_ended', message };
      await endRun(pool, { tenantId, runId }, { status, failure, unanswered });
      await releaseUnclaimed({ pool, coalescer }, { tenantId, runId });
      log.info({ tenantId, runId, status, code: failure?.code }, 'a conversation ended');
      return costSoFar(pool, { tenantId, runId });
    },

    async openApprovals({ asked, ...key }) {
      const { tenantId, runId, step } = key;
      const transcript = await readTranscript(pool, {
        tenantId,
        runId,
        afterSequence: replySequence(step) - 1,
        limit: 1,
      });
      const blocks = (transcript[0]?.content ?? []) as Block[];
      const approvals = asked.flatMap(({ approvalId, toolUseId }): NewApproval[] => {
        const use = blocks.find((block) => block.type === 'tool_use' && block.id === toolUseId);
        if (use?.type !== 'tool_use') return [];
        const kind = use.name === 'ask_person' ? 'question' : 'approval';
        return [{ approvalId, toolUseId, tool: use.name, kind, input: use.input }];
      });
      await openApprovals(pool, key, approvals);
    },

    async refusedCalls({ tenantId, runId, step }) {
      const approvals = await takeDecisions(pool, { tenantId, runId, step });
      return approvals
        .filter(({ status }) => status === 'refused' || status === 'withdrawn')
        .map(({ toolUseId }) => toolUseId);
    },
    async pendingApprovals({ tenantId, runId, step, decided }) {
      for (const given of decided) {
        const signal = readApprovalSignal(given);
        // A workflow of an earlier version passed on whatever somebody had sent.
        if (isUnreadable(signal)) {
          log.warn({ tenantId, runId, signal: 'decideApproval' }, `a decision was not taken: ${signal.problem}`);
          continue;
        }
        const { approvalId, decision, answer, decidedBy = 'Temporal UI' } = signal;
        if (decision) await decideApproval(pool, { tenantId, approvalId }, { decision, answer, decidedBy });
      }
      const approvals = await takeDecisions(pool, { tenantId, runId, step });
      return approvals.filter(({ status }) => status === 'pending').map(({ approvalId }) => approvalId);
    },

    withdrawApprovals: (key) => withdrawApprovals(pool, key),
    nextTask: () => Promise.resolve(),
  };
}

async function takeTurn(
  { pool, log }: Pick<RunDependencies, 'pool' | 'log'>,
  { openingStep, ...key }: Parameters<RunActivities['beginTurn']>[0],
  lockMs?: number,
): ReturnType<RunActivities['beginTurn']> {
  const run = await findRun(pool, key);
  // Nobody can send it a message any more: waiting for one would be for good.
  if (run?.type !== 'conversation')
    throw failure('not_found', `There is no conversation ${JSON.stringify(key.runId)} on record.`);
  if (run.status !== 'running')
    throw failure('conversation_ended', `The conversation ${key.runId} has ended on record: no turn was begun.`);
  const attachment = attachmentLine(run.fileName);
  const turn = await beginTurn(pool, key, { openingStep, attachment, lockMs });
  if (turn) log.info({ tenantId: key.tenantId, runId: key.runId, turnId: turn.turnId }, 'a turn began');
  return turn ?? null;
}

/** With what of the answer does not fit, which no workflow is told: it may quote what was said. */
async function withMisfits(
  pool: Pool,
  run: { tenantId: string; runId: string },
  failure: RunFailureText | undefined,
): Promise<RunFailureText | undefined> {
  if (failure?.code !== 'answer_invalid') return failure;
  const misfits = await readMisfits(pool, run);
  return { ...failure, message: `${failure.message} What does not fit: ${misfits.join('; ')}.` };
}

/** What the workflow shows on its page: what all has cost, and single steps that it does not know. */
async function costSoFar(pool: Pool, run: { tenantId: string; runId: string; turnId?: string }): Promise<CostSoFar> {
  const [costUsd, steps] = await Promise.all([readRunCost(pool, run), readSettledSteps(pool, run)]);
  return { costUsd, ...(steps.length > 0 ? { steps } : {}) };
}

/** The text of the last reply. */
async function lastText(pool: Pool, run: { tenantId: string; runId: string }): Promise<string> {
  const transcript = await readTranscript(pool, run);
  const reply = transcript.findLast((message) => message.role === 'assistant');
  const blocks = (reply?.content ?? []) as { type: string; text?: string }[];
  return blocks.flatMap((block) => (block.type === 'text' ? [block.text ?? ''] : [])).join('\n');
}
