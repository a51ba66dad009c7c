/** What a process is told of decisions by its environment, where that is not read as a whole (temporal/environment.ts). */
import type { Enforced } from '../core/budget/commands';

/** What the process is that would decide, or that asks for whom it would. */
export interface Decider {
  enforced: Enforced;
  /** Whether it decides by itself at all: SPENDLOCK_MANDATES. */
  decides: boolean;
}

/** What is not set is on. */
export const deciderFrom = (environment: NodeJS.ProcessEnv): Decider => ({
  enforced: { llm: environment.ENFORCE_COST_QUOTAS !== 'false', e2b: environment.ENFORCE_E2B_QUOTAS !== 'false' },
  decides: environment.SPENDLOCK_MANDATES !== 'off',
});
