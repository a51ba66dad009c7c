/** Where in its life a sandbox failed: requirement T4. */

export type SandboxOperation = 'create' | 'reconnect' | 'terminate' | 'cleanup' | 'execute';

export const lifecycleStages = [
  'initialization',
  'quota_validation',
  'resource_allocation',
  'connection',
  'execution',
  'result_retrieval',
  'cleanup',
  'monitoring',
  'unknown',
] as const;
export type LifecycleStage = (typeof lifecycleStages)[number];

const stageOf: Record<SandboxOperation, LifecycleStage> = {
  create: 'resource_allocation',
  reconnect: 'connection',
  terminate: 'cleanup',
  cleanup: 'cleanup',
  execute: 'execution',
};

/** The stage that an error without one belongs to, by its operation. */
export const lifecycleStageOf = (operation: string): LifecycleStage =>
  Object.hasOwn(stageOf, operation) ? stageOf[operation as SandboxOperation] : 'unknown';
