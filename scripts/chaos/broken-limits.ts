/** Builds that forget a limit of a run, of a label or of a resource by name, or the rest of an envelope: see broken-builds.ts. */
import { replaceInFunction, type BrokenBuild } from './breaking';
import type { FaultName } from './faults';

export const limitBuilds = {
  ancestor: {
    what: 'what a run belongs to is forgotten, by the decision and by the guard',
    told: ['no tree of runs passes its limit'],
    sql: replaceInFunction('record_budget_batch', 'l.run_id || l.ancestor_ids', 'ARRAY[l.run_id]'),
    sources: [
      {
        file: 'core/budget/run-limits.ts',
        from: 'return [limit, ...limit.ancestorIds.flatMap((ancestor) => known.get(ancestor) ?? [])];',
        to: 'return [limit];',
      },
    ],
    faults: ['a tree of runs spends at once'],
  },
  'run-limit': {
    what: 'what a run may cost is forgotten, by the decision and by the guard',
    told: ['no run passes its limit'],
    sql: replaceInFunction('apply_run_limits', 'WHERE is_grant AND', 'WHERE false AND'),
    sources: [
      {
        file: 'core/budget/run-limits.ts',
        from: '(limit.limitUsd === undefined ? [] :',
        to: '(limit.limitUsd !== null ? [] :',
      },
    ],
    faults: ['Postgres slow'],
  },
  'run-envelope': {
    what: 'a run ends without having what it holds for its steps given back',
    told: ['an ended run holds no envelope'],
    sources: [
      {
        file: 'activities/budget/index.ts',
        from: 'if (unsettled.length === 0 || !direct) return unsettled;',
        to: 'if (unsettled || !direct) return [];',
      },
    ],
    faults: ['Postgres slow'],
  },
  'label-limit': {
    what: 'limits of labels are forgotten, by the decision and by the guard',
    told: ['no grant passes a limit'],
    sql: replaceInFunction('apply_label_quotas', 'WHERE binds AND lifted_to_usd', 'WHERE false AND lifted_to_usd'),
    sources: [
      {
        file: 'core/budget/quotas.ts',
        from: "if (quota.scope === 'label') return coversLabels(quota, labels);",
        to: "if (quota.scope === 'label') return false && coversLabels(quota, labels);",
      },
    ],
    faults: ['Postgres slow'],
  },
  'resource-limit': {
    what: 'limits of a resource by name are forgotten, by the decision and by the guard',
    told: ['no grant passes a limit'],
    sql: replaceInFunction(
      'apply_quota_changes',
      'WHERE binds AND lifted_to_usd',
      "WHERE binds AND resource_type <> 'geocoding' AND lifted_to_usd",
    ),
    sources: [
      {
        file: 'core/budget/quotas.ts',
        from: 'if (!isOf(quota, resource) && !heldOn?.includes(quota.resourceType)) return false;',
        to: "if (!['llm', 'e2b', 'all'].includes(quota.resourceType) || (!isOf(quota, resource) && !heldOn?.includes(quota.resourceType))) return false;",
      },
    ],
    faults: ['Postgres slow'],
  },
  envelope: {
    what: 'the part of an envelope leaves the rest of that as it was, by the decision and by the guard',
    told: ['no envelope is spent twice'],
    sql: replaceInFunction('check_envelopes', 'IF v_wrong IS NOT NULL THEN', 'IF false THEN'),
    sources: [
      {
        file: 'core/budget/decision.ts',
        from: 'const rest = { envelope: prolonged(batch, reservation, command), usd: -grantedUsd };',
        to: 'const rest = { envelope: prolonged(batch, reservation, command), usd: 0n };',
      },
    ],
    faults: ['Postgres slow'],
  },
  'shadow-enforced': {
    what: 'a limit that is only watched binds like the others',
    told: ['a watched limit refuses nothing'],
    sources: [
      {
        file: 'store/budget-batch.ts',
        from: 'quotas: state.quotas.filter(({ isShadow }) => !isShadow).map(quotaFrom),',
        to: 'quotas: state.quotas.map(quotaFrom),',
      },
    ],
    faults: ['Postgres slow'],
  },
  'label-default': {
    what: 'the default of a label is not given to a value that nobody has seen before',
    told: ['a value of a label has its default'],
    sql: replaceInFunction('add_label_quotas', 'AND d.key = v.key', 'AND false'),
    faults: ['Postgres slow'],
  },
} satisfies Record<string, BrokenBuild<FaultName>>;
