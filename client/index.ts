/**
 * The typed client of the API.
 *
 *   const spendlock = createSpendlockClient({ baseUrl: 'http://127.0.0.1:8088', apiKey });
 *   const { conversationId } = await spendlock.conversations.create();
 *   for await (const { type, data } of spendlock.conversations.stream(conversationId, { message: 'Hello' }))
 *     if (type === 'delta') process.stdout.write(String(data.text));
 */
import { approvalsOf, conversationsOf } from './conversations';
import { connect, type SpendlockClientOptions } from './http';
import { reservationsOf } from './reservations';
import { runsOf } from './runs';
import { quotaChecksOf, tenantsOf, usageOf } from './tenants';

export {
  AuthenticationError,
  ConflictError,
  NotFoundError,
  QuotaExceededError,
  SpendlockApiError,
  UnavailableError,
} from './errors';
export { NotBilledError, type MoneyGrant, type MoneySpent, type ReserveMoney } from './reservations';
export type { Approval, SendMessage, SentMessage, StartConversation, Transcript } from './conversations';
export type { StreamEvent } from './events';
export type { SpendlockClientOptions } from './http';
export type { AttachedFile, RunView, StartRun } from './runs';
export type { QuotaView, TenantQuotas, UsageView } from './tenants';
export type { ConversationView, TurnView } from '../api/conversations/schemas';
export type { CostRecordView } from '../api/usage/schemas';
export type { QuotaDetails } from '../api/http/denials';

export type SpendlockClient = ReturnType<typeof createSpendlockClient>;

/** Every POST carries an Idempotency-Key and is sent again when its answer was lost. */
export function createSpendlockClient(options: SpendlockClientOptions) {
  const http = connect(options);
  return {
    ...reservationsOf(http),
    runs: runsOf(http),
    conversations: conversationsOf(http),
    approvals: approvalsOf(http),
    tenants: tenantsOf(http),
    usage: usageOf(http),
    checkQuota: quotaChecksOf(http),
  };
}
