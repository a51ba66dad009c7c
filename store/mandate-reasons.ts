/** Why a process decides nothing of a tenant by itself: the codes, for whoever only describes them. */
export const whyNotDirectCodes = [
  'off',
  'far',
  'standing',
  'recalled',
  'never_opened',
  'closed',
  'run_out',
  'other_rules',
  'platform_waited_for',
] as const;
export type WhyNotDirect = (typeof whyNotDirectCodes)[number];
