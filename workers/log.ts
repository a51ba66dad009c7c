/** The log of a worker: a line that an activity writes says for which workflow, and for which conversation if it is one. */
import { asyncLocalStorage } from '@temporalio/activity';
import type { LogEntry } from '@temporalio/worker';
import { createLog, type LogFields, type Logger } from '../telemetry/log';
import { conversationIdOf } from '../workflows/messages';

export const createWorkerLog = (level: string): Logger => createLog({ name: 'worker', level, about: currentWorkflow });

function currentWorkflow(): LogFields {
  const workflowId = asyncLocalStorage.getStore()?.info.workflowExecution?.workflowId;
  return workflowId === undefined ? {} : ofWorkflow(workflowId);
}

function ofWorkflow(workflowId: string): LogFields {
  const conversationId = conversationIdOf(workflowId);
  return { workflowId, ...(conversationId === undefined ? {} : { conversationId }) };
}

/** What a line of Temporal's SDK says beside its text, as far as it helps to find what it is about. */
const kept = ['workflowType', 'activityType', 'attempt', 'taskQueue', 'error'] as const;

/** Writes what Temporal's SDK says, in TypeScript or beneath, to our log: of which workflow, and which activity. */
export const logOfTemporal =
  (log: Logger) =>
  ({ level, message, meta }: LogEntry): void => {
    const about: Record<string, unknown> = meta ?? {};
    const { workflowId } = about;
    log[level === 'ERROR' ? 'error' : 'warn'](
      {
        ...(typeof workflowId === 'string' ? ofWorkflow(workflowId) : {}),
        ...Object.fromEntries(kept.flatMap((field) => (about[field] === undefined ? [] : [[field, about[field]]]))),
      },
      message,
    );
  };
