/**
 * A command that a signal ends while the API carries out what it ordered says that it may have been done, and what shows whether it was.
 * All requests of commands pass here. A signal that another part of the command listens to, such as Ctrl-C in a chat, is left to it.
 */
import type { SentRequest } from '../client/http';
import { CommandError, tell, wantsJson } from './failures';

/** A request that changes something. */
export interface Order {
  path: string;
  body: Record<string, unknown>;
}

/** Those that are not known to be answered, by what was sent: an order that is sent again is the same. */
const open = new Map<string, Order>();

/** Sends a request, and knows of it until it is answered. */
export async function watched(
  { method, to, body: text = '{}' }: SentRequest,
  send: () => Promise<Response>,
): Promise<Response> {
  const { pathname } = new URL(to);
  const path = pathname.slice(pathname.indexOf('/v1/'));
  if (method === 'GET' || path === '/v1/quota-checks') return send();
  const key = `${path} ${text}`;
  if (open.size === 0) for (const signal of signals) process.on(signal, cutOff);
  open.set(key, { path, body: JSON.parse(text) as Order['body'] });
  const response = await send();
  if (isAnswered(response)) open.delete(key);
  if (open.size === 0) for (const signal of signals) process.off(signal, cutOff);
  return response;
}

const signals = ['SIGINT', 'SIGTERM'] as const;

/** One that failed in the middle, or is still carried out for the request before, may have been done. */
const isAnswered = ({ status }: Response): boolean => status < 500 && status !== 409;

function cutOff(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  const [order] = [...open.values()].slice(-1);
  if (!order) return;
  const what = order.path === '/v1/runs' ? 'The run may have begun' : 'What was ordered may have been done';
  const error = new CommandError(
    `Ended by ${signal === 'SIGINT' ? 'Ctrl-C' : signal} before the API had answered. ${what}, or may be in a moment. ` +
      `Before you order it again, see: npx spendlock ${lookAt(order).join(' ')}`,
    'interrupted',
  );
  process.exit(tell(error, { json: wantsJson(process.argv) }));
}

/** The words of the command that shows what became of an order. */
export function lookAt({ path, body }: Order): string[] {
  const [kind = '', id, verb] = path.split('/').slice(2).map(decodeURIComponent);
  const word = (given: unknown): string[] => (typeof given === 'string' ? [given] : []);
  const tenant = word(kind === 'tenants' && id !== undefined ? id : body.tenantId);
  const operation = word(body.operationId);
  switch (kind) {
    case 'runs':
      return id === undefined ? ['runs', 'list', ...tenant] : ['runs', 'show', ...tenant, id];
    case 'conversations':
      return id === undefined ? ['conversations', 'list', ...tenant] : ['conversations', 'show', ...tenant, id];
    case 'approvals':
      return ['approvals', 'list', ...tenant];
    case 'reservations':
      return ['holds', 'show', ...tenant, ...(id === undefined ? operation : [id])];
    case 'keys':
      return ['keys', 'list', ...(tenant.length === 0 ? [] : ['--tenant', ...tenant])];
    case 'platform':
      return ['budget', 'show', '--platform'];
    case 'prices':
      return ['prices', 'list', '--all'];
    case 'sandbox-prices':
      return ['prices', 'sandboxes'];
    default:
      return tenantLook({ path, verb, tenant, operation });
  }
}

/** Of what is ordered for a tenant, or makes one or takes it away. */
function tenantLook(order: {
  path: string;
  verb: string | undefined;
  tenant: string[];
  operation: string[];
}): string[] {
  const { path, verb, tenant, operation } = order;
  switch (verb) {
    case undefined:
    case 'delete':
      return ['tenants', 'list'];
    case 'adjustments':
      return ['holds', 'show', ...tenant, ...operation];
    case 'holds':
      return ['holds', 'show', ...tenant, path.split('/')[5] ?? ''];
    case 'policy':
      return ['budget', 'policy', 'show', ...tenant];
    case 'user-defaults':
      return ['budget', 'user-defaults', 'show', ...tenant];
    case 'quotas':
    case 'freeze':
    case 'unfreeze':
      return ['budget', 'show', ...tenant];
    default:
      return ['audit', ...tenant];
  }
}
