/**
 * `spendlock/workflow`: paid steps for workflows of your own. Make one `Budget` for each execution, run every paid step
 * through its `withBudget`, and call `settled` before the workflow ends. The worker that runs the workflow needs the
 * activities of `spendlock/worker`; examples/paid-api shows all of it.
 */
export type { BudgetScope, Grant, PaidStep, PaidStepHooks, UnavailablePolicy } from './budget/paid-step';
export { Budget } from './budget/with-budget';
export { denialOf, failureOf, type DenialDetails, type KnownFailure } from './failures';
