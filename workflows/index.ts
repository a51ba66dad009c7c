/** What a worker can be asked to run by name: workflow types, and nothing else. */
export { agentRun } from './agent-run';
export { conversation } from './conversation';
export { forgetOld } from './forget-old';
export { lookAfter } from './look-after';
export { sweepSandboxes } from './sweep-sandboxes';
export { tenantBudget } from './tenant-budget';
