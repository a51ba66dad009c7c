/** What spending is summed up by. */
import { isLabelKey } from './label-query';

export const usageGroups = ['model', 'resource', 'user', 'run', 'day', 'kind'] as const;
export type UsageGroup = (typeof usageGroups)[number];
/** One of these, or a label by its key. */
export type UsageGrouping = UsageGroup | `label:${string}`;

/** The key of a label that is grouped by; undefined for what is none. */
export const labelOfGrouping = (grouping: UsageGrouping): string | undefined =>
  grouping.startsWith('label:') ? grouping.slice('label:'.length) : undefined;

export const isUsageGrouping = (text: string): text is UsageGrouping =>
  (usageGroups as readonly string[]).includes(text) || isLabelKey(labelOfGrouping(text as UsageGrouping) ?? '');
