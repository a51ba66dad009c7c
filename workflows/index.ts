/** What a worker can be asked to run by name: workflow types, and nothing else. */
export { agentRun } from './agent/agent-run';
export { conversation } from './agent/conversation';
export { forgetOld } from './upkeep/forget-old';
export { lookAfter } from './upkeep/look-after';
export { sweepSandboxes } from './upkeep/sweep-sandboxes';
export { tenantBudget } from './budget/tenant-budget';
