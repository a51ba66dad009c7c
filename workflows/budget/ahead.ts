/** Who goes first where activities of one kind wait for a worker. */
import type { Priority } from '@temporalio/common';
import type { WorkflowInfo } from '@temporalio/workflow';

/** What Temporal takes for what names none. */
const usualPriorityKey = 3;

/** What ends reservations goes ahead of what asks for new ones: it frees the money that others wait for. */
export const aheadOf = ({ priority }: Pick<WorkflowInfo, 'priority'>): Priority => ({
  priorityKey: Math.max(1, (priority?.priorityKey || usualPriorityKey) - 1),
});
