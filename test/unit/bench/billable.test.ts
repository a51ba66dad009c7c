import { readFileSync } from 'node:fs';
import path from 'node:path';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils';
import { billableActions, sumOf } from '../../../scripts/bench/billable';

const recorded = (name: string) =>
  historyFromJSON(
    JSON.parse(readFileSync(path.join(__dirname, '..', '..', 'replay', 'histories', '0.1.0', name), 'utf8')),
  );

describe('billable actions', () => {
  test('of an authority that its first signal started are one for both, and one for all markers of a task', () => {
    const history = recorded('denied.tenantBudget.json');
    const events = history.events ?? [];
    const signals = events.filter((event) => event.workflowExecutionSignaledEventAttributes).length;
    const markers = events.flatMap(({ markerRecordedEventAttributes: marker }) =>
      marker ? [String(marker.workflowTaskCompletedEventId)] : [],
    );
    expect(billableActions(history)).toMatchObject({ start: 0, signal: signals, local: new Set(markers).size });
  });

  test('of a continuation are a start again; patches are exempt, retries of an activity are not', () => {
    const history = recorded('budget-carried.tenantBudget.json');
    expect(billableActions(history).start).toBe(1);
    const run = recorded('run-shown.agentRun.json');
    const markers = (run.events ?? []).flatMap(({ markerRecordedEventAttributes: marker }) => marker?.markerName ?? []);
    expect(markers).toContain('core_patch');
    const withoutPatches = {
      events: (run.events ?? []).filter((event) => event.markerRecordedEventAttributes?.markerName !== 'core_patch'),
    };
    expect(billableActions(run)).toEqual(billableActions(withoutPatches));
    const scheduled = (run.events ?? []).filter((event) => event.activityTaskScheduledEventAttributes).length;
    expect(billableActions(run).activity).toBe(scheduled);
    const again = (run.events ?? []).map((event) =>
      event.activityTaskStartedEventAttributes
        ? { ...event, activityTaskStartedEventAttributes: { ...event.activityTaskStartedEventAttributes, attempt: 3 } }
        : event,
    );
    expect(billableActions({ events: again }).activity).toBe(3 * scheduled);
    expect(sumOf(billableActions(run))).toBeGreaterThan(scheduled);
  });
});
