/** What spending is summed up by. */
export const usageGroups = ['model', 'resource', 'user', 'run', 'day', 'kind'] as const;
export type UsageGroup = (typeof usageGroups)[number];
