/** The log of a worker: a line that an activity writes says for which workflow, and for which conversation if it is one. */
import { asyncLocalStorage } from '@temporalio/activity';
import { createLog, type LogFields, type Logger } from '../telemetry/log';
import { conversationIdOf } from '../workflows/messages';

export const createWorkerLog = (level: string): Logger => createLog({ name: 'worker', level, about: currentWorkflow });

function currentWorkflow(): LogFields {
  const workflowId = asyncLocalStorage.getStore()?.info.workflowExecution?.workflowId;
  if (workflowId === undefined) return {};
  const conversationId = conversationIdOf(workflowId);
  return { workflowId, ...(conversationId === undefined ? {} : { conversationId }) };
}
