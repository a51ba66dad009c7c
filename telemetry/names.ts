/**
 * The names of spans, metrics and their labels, in one place. Those of sandboxes and quotas are requirements T1 and T3; those of
 * model calls follow OpenTelemetry's `gen_ai` semantic conventions beside our own.
 */

export const spanNames = {
  chat: 'api.chat',
  executionContext: 'execution_context.get_or_create',
  sandboxQuotaCheck: 'e2b.quota_check',
  sandboxCreate: 'e2b.sandbox.create',
  sandboxRecord: 'e2b.record_operation',
  sandboxContext: 'e2b.context.create',
  quotaCheck: 'quota.check',
  quotaGet: 'quota.get',
  quotaReset: 'quota.reset',
  quotaAtomic: 'quota.check_and_record_atomic',
  quotaAtomicDb: 'quota.db.atomic_function',
  costStore: 'cost.store_record',
  costStoreDb: 'cost.db.insert',
  costQuery: 'cost.query_records',
  costQueryDb: 'cost.db.query',
} as const;
export type SpanName = (typeof spanNames)[keyof typeof spanNames];

export const metricNames = {
  sandboxDuration: 'regintel.e2b.sandbox.operation.duration',
  sandboxTotal: 'regintel.e2b.sandbox.operation.total',
  sandboxActive: 'regintel.e2b.sandbox.active',
  sandboxUtilization: 'regintel.e2b.quota.utilization',
  sandboxCost: 'regintel.e2b.cost.total',
  sandboxErrors: 'regintel.e2b.errors.total',
  llmDuration: 'regintel.llm.call.duration',
  llmTotal: 'regintel.llm.call.total',
  llmUtilization: 'regintel.llm.quota.utilization',
  llmCost: 'regintel.llm.cost.total',
  llmErrors: 'regintel.llm.errors.total',
  genAiTokens: 'gen_ai.client.token.usage',
  genAiDuration: 'gen_ai.client.operation.duration',
  otherCost: 'spendlock.cost.total',
  decisions: 'spendlock.decisions.total',
  decisionDuration: 'spendlock.decision.duration',
  batchSize: 'spendlock.decision.batch.size',
  signalled: 'spendlock.decisions.signalled.total',
  wayDuration: 'spendlock.decision.way.duration',
  answerDuration: 'spendlock.answer.duration',
  backlog: 'spendlock.authority.backlog',
  leftBehind: 'spendlock.authority.left.behind.total',
  quotaLimit: 'spendlock.quota.limit',
  quotaSpent: 'spendlock.quota.spent',
  quotaReserved: 'spendlock.quota.reserved',
  unverified: 'spendlock.settlements.unverified.total',
  overruns: 'spendlock.settlements.overrun.total',
  alerts: 'spendlock.alerts.total',
} as const;

/** A provider of models as the conventions for generative AI name it; our own names are those of prices. */
export const genAiProvider = (provider: string): string => (provider === 'google' ? 'gcp.gemini' : provider);

/** Label values beyond a list of so many become `other`, so that no label set grows without bound. */
export const labelValuesMax = 500;
export const otherLabel = 'other';

/** What a log line may say beside its text. Ids, codes and figures: nothing that a person or a model wrote. */
export const logFields = [
  // In which trace.
  'traceId',
  'spanId',
  // Whose, and of what.
  'tenantId',
  'userId',
  'runId',
  'conversationId',
  'turnId',
  'operationId',
  'workflowId',
  'workflowType',
  'activityType',
  'attempt',
  'taskQueue',
  'approvalId',
  'alertId',
  'sandboxId',
  'scheduleId',
  'requestId',
  'key',
  // What happened.
  'operation',
  'type',
  'state',
  'status',
  'event',
  'code',
  'billed',
  'error',
  'errorType',
  'lifecycleStage',
  'sqlState',
  'signal',
  'settlement',
  'decision',
  // About what.
  'resource',
  'resourceType',
  'scope',
  'alert',
  'model',
  'tier',
  'roles',
  'attributes',
  'path',
  'url',
  'address',
  'namespace',
  'buildId',
  // How much.
  'commands',
  'seconds',
  'step',
  'amountUsd',
  'costUsd',
  'spentUsd',
  'limitUsd',
  'utilizationPercent',
  'removed',
  'repeats',
] as const;
export type LogField = (typeof logFields)[number];
