/**
 * What Temporal Cloud bills as actions, counted from a history. Its page on actions is the rule: a start (by a client, a schedule or
 * as a continuation), a signal (with a start too, one in all), an update, a timer, an upsert of search attributes, each start and
 * retry of an activity, and all markers of one workflow task together, which is what local activities leave. Not counted are the
 * version of a patch, which is exempt, and what no history shows: heartbeats, queries, and the two of a schedule's own start.
 */
import type { History } from '@temporalio/common/lib/proto-utils';

export const kinds = ['start', 'signal', 'update', 'timer', 'activity', 'local', 'attributes'] as const;
export type ActionKind = (typeof kinds)[number];
export type Actions = Record<ActionKind, number>;

export const noActions = (): Actions => ({
  start: 0,
  signal: 0,
  update: 0,
  timer: 0,
  activity: 0,
  local: 0,
  attributes: 0,
});

export const sumOf = (actions: Actions): number => kinds.reduce((sum, kind) => sum + actions[kind], 0);

type HistoryEvent = NonNullable<History['events']>[number];

/** Signals that started their workflow: the start is the signal's action then. */
const startedBySignal = (events: readonly HistoryEvent[]): boolean =>
  events[1]?.workflowExecutionSignaledEventAttributes != null &&
  !events[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId;

export function billableActions({ events: given }: History): Actions {
  const events = given ?? [];
  const actions = noActions();
  if (!startedBySignal(events)) actions.start += 1;
  const tasksWithMarkers = new Set<string>();
  for (const event of events) {
    if (event.workflowExecutionSignaledEventAttributes) actions.signal += 1;
    if (event.workflowExecutionUpdateAcceptedEventAttributes) actions.update += 1;
    if (event.timerStartedEventAttributes) actions.timer += 1;
    if (event.activityTaskScheduledEventAttributes) actions.activity += 1;
    // The first start was counted when it was scheduled.
    const { attempt } = event.activityTaskStartedEventAttributes ?? {};
    if (attempt != null && attempt > 1) actions.activity += attempt - 1;
    const marker = event.markerRecordedEventAttributes;
    if (marker && marker.markerName !== 'core_patch') tasksWithMarkers.add(String(marker.workflowTaskCompletedEventId));
    const { searchAttributes } = event.upsertWorkflowSearchAttributesEventAttributes ?? {};
    const names = Object.keys(searchAttributes?.indexedFields ?? {});
    if (names.some((name) => name !== 'TemporalChangeVersion')) actions.attributes += 1;
  }
  actions.local = tasksWithMarkers.size;
  return actions;
}
