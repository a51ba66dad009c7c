/** Each operation of the API, and how a person asks for it at the command line. A test holds the list to the API's document. */

/** What the commands are about. */
export interface Named {
  tenantId: string;
  userId: string;
  runId: string;
  conversationId: string;
  approvalId: string;
  operationId: string;
  apiKeyId: string;
  claimToken: string;
  /** A file that may be written. */
  file: string;
}

const price = ['--input', '1', '--output', '2', '--source', 'https://example.com'];
const tier = ['--vcpu', '2', '--memory-mib', '512', '--vcpu-second', '0.1', '--gib-second', '0.1'];
const why = ['--reason', 'a test'];

export const commandsOf = ({ tenantId, userId, file, ...named }: Named): Record<string, string[]> => ({
  listAlerts: ['alerts', tenantId, '--cursor', 'next'],
  listAuditEntries: ['audit', tenantId, '--action', 'top_up', '--cursor', 'next'],
  listApprovals: ['approvals', 'list', tenantId, '--run', named.runId],
  decideApproval: ['approvals', 'refuse', tenantId, named.approvalId, ...why],
  listConversations: ['conversations', 'list', tenantId, '--user', userId],
  getConversation: ['conversations', 'show', tenantId, named.conversationId],
  closeConversation: ['conversations', 'close', tenantId, named.conversationId],
  interruptTurn: ['conversations', 'interrupt', tenantId, named.conversationId],
  downloadConversationFile: ['conversations', 'file', tenantId, named.conversationId, file, '--force'],
  setTitle: ['conversations', 'title', tenantId, named.conversationId, 'Sales'],
  listMessages: ['conversations', 'messages', tenantId, named.conversationId, '--cursor', 'next'],
  listCostRecords: ['usage', 'list', tenantId, '--unverified', '--cursor', 'next'],
  whatIf: ['what-if', tenantId, '--from', '2026-11-01', '--limit', 'user:ada/llm/day=5', '--limit', '50'],
  getUsage: ['usage', 'show', tenantId, '--by', 'day'],
  listKeys: ['keys', 'list', '--tenant', tenantId],
  createKey: ['keys', 'create', '--tenant', tenantId, '--role', 'reader'],
  getCurrentKey: ['keys', 'current'],
  revokeKey: ['keys', 'revoke', named.apiKeyId, '--tenant', tenantId, '--yes'],
  rotateKey: ['keys', 'rotate', named.apiKeyId, '--grace', '60'],
  listPlatformQuotas: ['budget', 'show', '--platform'],
  removePlatformQuota: ['budget', 'remove', '--platform', ...why],
  setPlatformQuotas: ['budget', 'set', '--platform', '--limit', '5', '--warn-at', '0.5', '0.8'],
  listPrices: ['prices', 'list', '--all'],
  addPrices: ['prices', 'set', 'm', '--provider', 'openai', ...price],
  addSandboxPrice: ['prices', 'set-sandbox', 'large', ...tier, '--source', 'https://example.com'],
  checkQuotas: ['budget', 'check', tenantId, '--model', 'm', '--input-tokens', '1', '--max-output-tokens', '1'],
  reserve: [
    'holds',
    'reserve',
    tenantId,
    '1',
    '--minimum',
    '0.5',
    '--ttl',
    '60',
    '--on-expiry',
    'settle',
    '--kind',
    'k',
  ],
  getReservation: ['holds', 'show', tenantId, named.operationId],
  claimReservation: ['holds', 'claim', tenantId, named.operationId],
  commitReservation: [
    'holds',
    'commit',
    tenantId,
    named.operationId,
    '0.5',
    '--claim-token',
    named.claimToken,
    '--usage',
    '{"tokens": 5}',
    '--unreserved',
    '--amount',
    '1',
    '--confirm',
    ...why,
  ],
  extendReservation: ['holds', 'extend', tenantId, named.operationId, '60'],
  releaseReservation: ['holds', 'release', tenantId, named.operationId, '--claim-token', named.claimToken],
  releaseHold: ['holds', 'release', tenantId, named.operationId, ...why],
  listHolds: ['holds', 'list', tenantId],
  listRuns: ['runs', 'list', tenantId, '--limit', '1000'],
  startRun: ['runs', 'start', tenantId, '--task', 'Say hello.', '--max-cost', '1', '--max-steps', '3'],
  getRun: ['runs', 'show', tenantId, named.runId],
  cancelRun: ['runs', 'cancel', tenantId, named.runId],
  listRunMessages: ['runs', 'messages', tenantId, named.runId, '--limit', '2'],
  downloadRunFile: ['runs', 'file', tenantId, named.runId, file, '--force'],
  followRun: ['runs', 'follow', tenantId, named.runId],
  listTenants: ['tenants', 'list'],
  createTenant: ['tenants', 'create', tenantId, '--name', 'Acme'],
  getOverview: ['tenants', 'show', tenantId],
  exportTenant: ['tenants', 'export', tenantId, file, '--force'],
  deleteTenant: ['tenants', 'remove', tenantId, '--export', file, '--force', '--confirm', tenantId, ...why],
  adjustCost: ['budget', 'adjust', tenantId, named.operationId, '1', ...why],
  getBooks: ['budget', 'repair', tenantId],
  repairBooks: ['budget', 'repair', tenantId, '--yes'],
  freezeBudget: ['budget', 'freeze', tenantId, '--user', userId, ...why],
  unfreezeBudget: ['budget', 'unfreeze', tenantId, ...why],
  getMandate: ['budget', 'mandates', tenantId],
  recallMandate: ['budget', 'mandates', tenantId, '--recall', ...why],
  allowMandate: ['budget', 'mandates', tenantId, '--allow', ...why],
  getPolicy: ['budget', 'policy', 'show', tenantId],
  setPolicy: ['budget', 'policy', 'set', tenantId, '--on-unavailable', 'deny', ...why],
  getUserDefaults: ['budget', 'user-defaults', 'show', tenantId],
  setUserDefaults: [
    'budget',
    'user-defaults',
    'set',
    tenantId,
    'llm/day=2',
    'all/month=20',
    '--warn-at',
    '0.9',
    ...why,
  ],
  getLabelDefaults: ['budget', 'label-defaults', 'show', tenantId],
  setLabelDefaults: ['budget', 'label-defaults', 'set', tenantId, 'team:all/day=5', '--warn-at', '0.9', ...why],
  listQuotas: ['budget', 'show', tenantId, '--user', userId],
  setQuotas: ['budget', 'set', tenantId, '--limit', '5', '--user', userId, ...why],
  enforceQuota: ['budget', 'enforce', tenantId, '--resource', 'llm', ...why],
  watchQuota: ['budget', 'watch', tenantId, '--resource', 'llm', ...why],
  removeQuota: ['budget', 'remove', tenantId, '--resource', 'llm', ...why],
  topUpBudget: ['budget', 'topup', tenantId, '1', ...why],
});
