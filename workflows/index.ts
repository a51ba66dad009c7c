/** What a worker can be asked to run by name: workflow types, and nothing else. */
export { agentRun } from './agent-run';
export { lookAfter } from './look-after';
export { tenantBudget } from './tenant-budget';
