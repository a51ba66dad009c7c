/**
 * The typed client of the API.
 *
 *   const spendlock = createSpendlockClient({ baseUrl: 'http://127.0.0.1:8088', apiKey });
 *   const { conversationId } = await spendlock.conversations.create();
 *   for await (const { type, data } of spendlock.conversations.stream(conversationId, { message: 'Hello' }))
 *     if (type === 'delta') process.stdout.write(String(data.text));
 */
import { budgetOf } from './budget';
import { approvalsOf, conversationsOf } from './conversations';
import { connect, type SpendlockClientOptions } from './http';
import { keysOf } from './keys';
import { moneyRequestsOf } from './money-requests';
import { platformOf } from './platform';
import { pricesOf } from './prices';
import { alertsOf, auditOf } from './records';
import { reservationsOf } from './reservations';
import { runsOf } from './runs';
import { tenantsOf } from './tenants';
import { toolsOf } from './tools';
import { quotaChecksOf, usageOf } from './usage';

export {
  AuthenticationError,
  ConflictError,
  NotFoundError,
  QuotaExceededError,
  SpendlockApiError,
  UnavailableError,
  UnreachableError,
} from './errors';
export { CostNotRecordedError, NotBilledError } from './with-reservation';
export type { MoneyGrant, MoneySpent, ReserveMoney } from './money';
export type { ReservationView } from './reservations';
export type { BooksView, HoldsView, MandateView } from './budget';
export type { Approval, SendMessage, SentMessage, StartConversation, Transcript } from './conversations';
export type { StreamEvent } from './events';
export type { SentRequest, SpendlockClientOptions } from './http';
export type { CurrentKeyView, KeyView, NewKeyView } from './keys';
export type { MoneyRequestView } from './money-requests';
export type { PlatformQuotas } from './platform';
export type { PriceView, SandboxPriceView } from './prices';
export type { AlertsView, AuditView } from './records';
export type { AttachedFile, RunsView, RunView, StartRun } from './runs';
export type { OverviewView, QuotaView, TenantQuotas, TenantsView } from './tenants';
export type { AddedToolView, ToolTestView, ToolView } from './tools';
export type { CostRecordsPage, UsageView, WhatIfView } from './usage';
export type { ConversationView, TurnView } from '../api/conversations/schemas';
export type { CostRecordView } from '../api/usage/schemas';
export type { BindingQuotaView } from '../api/http/denials';

/** Every POST carries an Idempotency-Key and is sent again when its answer was lost. */
export interface SpendlockClient extends ReturnType<typeof reservationsOf> {
  runs: ReturnType<typeof runsOf>;
  conversations: ReturnType<typeof conversationsOf>;
  approvals: ReturnType<typeof approvalsOf>;
  tenants: ReturnType<typeof tenantsOf>;
  budget: ReturnType<typeof budgetOf>;
  moneyRequests: ReturnType<typeof moneyRequestsOf>;
  platform: ReturnType<typeof platformOf>;
  keys: ReturnType<typeof keysOf>;
  prices: ReturnType<typeof pricesOf>;
  tools: ReturnType<typeof toolsOf>;
  audit: ReturnType<typeof auditOf>;
  alerts: ReturnType<typeof alertsOf>;
  usage: ReturnType<typeof usageOf>;
  checkQuota: ReturnType<typeof quotaChecksOf>;
}

export function createSpendlockClient(options: SpendlockClientOptions): SpendlockClient {
  const http = connect(options, options.timeoutMs);
  return {
    ...reservationsOf(http),
    runs: runsOf(http),
    conversations: conversationsOf(http),
    approvals: approvalsOf(http),
    tenants: tenantsOf(http),
    budget: budgetOf(http),
    moneyRequests: moneyRequestsOf(http),
    platform: platformOf(http),
    keys: keysOf(http),
    prices: pricesOf(http),
    tools: toolsOf(http),
    audit: auditOf(http),
    alerts: alertsOf(http),
    usage: usageOf(http),
    checkQuota: quotaChecksOf(http),
  };
}
