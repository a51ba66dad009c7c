/** The log of a worker: a line that an activity writes says for which workflow, and for which conversation if it is one. */
import { asyncLocalStorage } from '@temporalio/activity';
import type { LogEntry } from '@temporalio/worker';
import { PayloadDecryptionError } from '../temporal/encryption/payload-codec';
import { createLog, type LogFields, type LogOptions, type Logger } from '../telemetry/log';
import { RepeatedFailures } from '../telemetry/repeated-failures';
import { conversationIdOf } from '../contracts/messages';

export const createWorkerLog = (level: string, { destination }: Pick<LogOptions, 'destination'> = {}): Logger =>
  createLog({ name: 'worker', level, about: currentWorkflow, ...(destination === undefined ? {} : { destination }) });

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
export const logOfTemporal = (log: Logger): ((entry: LogEntry) => void) => {
  // All that a missing key encrypted is tried again and again: one line says how often.
  const unreadable = new RepeatedFailures(log, 'a payload cannot be read, and what needs it waits');
  return ({ level, message, meta }) => {
    const about: Record<string, unknown> = meta ?? {};
    const { workflowId } = about;
    const fields: LogFields = {
      ...(typeof workflowId === 'string' ? ofWorkflow(workflowId) : {}),
      ...Object.fromEntries(kept.flatMap((field) => (about[field] === undefined ? [] : [[field, about[field]]]))),
    };
    const failed = decryptionErrorIn(about.error);
    if (failed) unreadable.add(failed, { ...fields, error: failed });
    else log[level === 'ERROR' ? 'error' : 'warn'](fields, message);
  };
};

/** What kept a payload from being read, when it is that. */
function decryptionErrorIn(error: unknown): PayloadDecryptionError | undefined {
  for (let one = error; one instanceof Error; one = one.cause) if (one instanceof PayloadDecryptionError) return one;
  return undefined;
}
