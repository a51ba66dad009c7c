/**
 * The minutely look: at authorities that sleep although something is overdue, at runs whose workflow is gone, and at messages
 * and decisions that did not reach the workflow they are for.
 */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Logger } from '../../telemetry/log';
import { namespaceIdOf } from '../../temporal/namespace';
import type { Coalescer } from '../../authority/client/coalescer';
import { lookAfter } from '../../store/leases';
import type { Pool } from '../../store/pool';
import { endRun } from '../../store/run-end';
import { findLeftHolding } from '../../store/run-steps';
import { takeUnseenRuns } from '../../store/runs';
import { findUnansweredConversations } from '../../store/turns';
import { postMessageUpdate } from '../../contracts/messages';
import type { UpkeepActivities } from '../../contracts/budget';
import { releaseUnclaimed } from '../runs/release-unclaimed';
import { tellDecisions } from './tell-decisions';

/** Tenants woken in one call; the next call wakes the next. */
const wokenMax = 1_000;
/** Runs looked up in one call, the longest unseen first. */
const lookedUpMax = 200;
/** A start that has not reached Temporal by then never will: its process gives up after ten seconds. */
const unseenForMs = 120_000;
/** A message or a decision that nobody told its workflow of by then: the process that took it may have ended. */
const untoldForMs = 30_000;

interface UpkeepDependencies {
  pool: Pool;
  client: Client;
  coalescer: Coalescer;
  /** Who sends alerts. */
  alerts: { wake(): void };
  log: Logger;
}

export function createUpkeepActivities(dependencies: UpkeepDependencies): UpkeepActivities {
  const looks = createLooks(dependencies);
  return {
    ...looks,
    async lookAround() {
      const [woken, lost, rung, told] = await allOf([
        looks.wakeSleepers(),
        looks.endLostRuns(),
        looks.ringConversations(),
        looks.tellDecisions(),
      ]);
      return { woken, lost, rung, told };
    },
  };
}

/** Waits for all of them, and then throws what the first that failed threw. */
async function allOf(looks: [Promise<number>, Promise<number>, Promise<number>, Promise<number>]) {
  await Promise.allSettled(looks);
  return Promise.all(looks);
}

const createLooks = ({
  pool,
  client,
  coalescer,
  alerts,
  log,
}: UpkeepDependencies): Omit<UpkeepActivities, 'lookAround'> => ({
  async wakeSleepers() {
    const [tenantIds, left] = await Promise.all([
      lookAfter(pool, wokenMax),
      findLeftHolding(pool, { endedForMs: untoldForMs, max: lookedUpMax }),
    ]);
    // The platform's, which were raised just now, and what others left.
    alerts.wake();
    await Promise.all([
      ...tenantIds.map((tenantId) => coalescer.send(tenantId, { type: 'reload' })),
      // What an ended run gave back, and nobody heard of.
      ...left.map((run) => releaseUnclaimed({ pool, coalescer }, run)),
    ]);
    return tenantIds.length;
  },

  async ringConversations() {
    const waiting = await findUnansweredConversations(pool, { waitedMs: untoldForMs, max: lookedUpMax });
    await Promise.all(
      waiting.map(({ workflowId, turnId }) =>
        client.workflow
          .getHandle(workflowId)
          .executeUpdate(postMessageUpdate, { args: [{ turnId }], updateId: turnId })
          .catch((error: unknown) => log.warn({ workflowId, error }, 'a conversation could not be told')),
      ),
    );
    return waiting.length;
  },

  tellDecisions: () => tellDecisions({ pool, client, log }, { waitedMs: untoldForMs, max: lookedUpMax }),

  async endLostRuns() {
    const namespace = await namespaceIdOf(client);
    if (namespace === undefined) {
      log.warn('the namespace of these workers is not known: no run is looked up that may be lost');
      return 0;
    }
    const runs = await takeUnseenRuns(pool, { namespace, unseenForMs, max: lookedUpMax });
    const ended = await Promise.all(
      runs.map(async ({ seenAt, workflowId, ...run }) => {
        const state = await stateOf(client, workflowId);
        if (!endedStates.includes(state)) return false;
        const message =
          state === 'absent'
            ? `The workflow ${workflowId} does not exist: the process that was to start it may have ended, or its history was deleted.`
            : `The workflow ${workflowId} ended from outside (${state}).`;
        const failure = { code: 'run_lost', message };
        const end = { status: 'failed' as const, failure, unanswered: failure };
        // First what it holds: nobody looks for that once the run has ended, were this process to end in between.
        await releaseUnclaimed({ pool, coalescer }, run);
        if (!(await endRun(pool, run, end, { lastSeenAt: seenAt }))) return false;
        // And its place in the line for money, which goes with its end.
        await releaseUnclaimed({ pool, coalescer }, run);
        log.warn({ ...run, workflowId, state }, 'a run was lost, and is recorded as failed');
        return true;
      }),
    );
    return ended.filter(Boolean).length;
  },
});

/** What is told of a workflow that does nothing more. One that somebody paused is not among them. */
const endedStates = ['absent', 'COMPLETED', 'FAILED', 'CANCELLED', 'TERMINATED', 'CONTINUED_AS_NEW', 'TIMED_OUT'];

/** A workflow's status in Temporal's words; `absent` where there is none. */
async function stateOf(client: Client, workflowId: string): Promise<string> {
  try {
    return (await client.workflow.getHandle(workflowId).describe()).status.name;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return 'absent';
    throw error;
  }
}
