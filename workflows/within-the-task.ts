/**
 * What is asked for within the workflow task that needs it: by a local activity that has one attempt and little time. It costs neither a
 * task nor a hop through the server; whoever has no answer by then asks by an ordinary activity, which takes what it takes.
 */
import { isCancellation, proxyLocalActivities, type LocalActivityInterfaceFor } from '@temporalio/workflow';
import { unlessMistake } from './failures';

/** Local activities of one attempt. A task in which several follow each other stays well below what a task may take. */
export const withinTheTask = <A extends object>(): LocalActivityInterfaceFor<A> =>
  proxyLocalActivities<A>({ startToCloseTimeout: '2 seconds', retry: { maximumAttempts: 1 } });

/** The answer of a local activity; null where it failed or was late, which says nothing: the ordinary one says it again. */
export const orNull = <T>(asked: Promise<T>): Promise<T | null> =>
  asked.catch((error: unknown) => {
    if (isCancellation(error)) throw error;
    return unlessMistake(error);
  });
