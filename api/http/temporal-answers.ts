/** How long a request waits for Temporal. A server that takes a call and says nothing is given up, not the one who asks. */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';

/** Temporal answers in milliseconds. What it took and did not answer for may have happened all the same. */
const patienceMs = 10_000;

/** Carries out calls of Temporal, all tries together, within the time that a request has for it. */
export const answeredBy = <T>(temporal: Client, call: () => Promise<T>): Promise<T> =>
  temporal.withDeadline(Date.now() + patienceMs, call);

const goesOn = ['RUNNING', 'PAUSED', 'UNKNOWN', 'UNSPECIFIED', 'CONTINUED_AS_NEW'];

/**
 * Why a workflow waits for nothing any more, whatever is on record of it yet, in words that follow its name; undefined where it may, and
 * where Temporal does not answer.
 */
export const whyOver = (temporal: Client, workflowId: string): Promise<string | undefined> =>
  answeredBy(temporal, () => temporal.workflow.getHandle(workflowId).describe()).then(
    ({ status, raw }) => {
      if (!goesOn.includes(status.name)) return 'has ended';
      return raw.workflowExtendedInfo?.cancelRequested ? 'is being cancelled' : undefined;
    },
    (error: unknown) => (error instanceof WorkflowNotFoundError ? 'has ended' : undefined),
  );
