/**
 * What a command ordered of the API and has no answer to yet, and the command that shows what became of it: for whoever is told that it may
 * have been done.
 */

/** A request that changes something. */
export interface Order {
  path: string;
  body: Record<string, unknown>;
}

/** Those that are not known to be answered, by what was sent: an order that is sent again is the same. */
export const openOrders = new Map<string, Order>();

/** The last of them. */
export const unanswered = (): Order | undefined => [...openOrders.values()].at(-1);

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
    case 'money-requests':
      return ['budget', 'requests', ...tenant];
    case 'reservations':
      return ['holds', 'show', ...tenant, ...(id === undefined ? operation : [id])];
    case 'keys':
      return ['keys', 'list', ...(tenant.length === 0 ? [] : ['--tenant', ...tenant])];
    case 'tools':
      return ['tools', 'list', ...(tenant.length === 0 ? [] : ['--tenant', ...tenant])];
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
    case 'label-defaults':
      return ['budget', verb, 'show', ...tenant];
    case 'quotas':
    case 'freeze':
    case 'unfreeze':
      return ['budget', 'show', ...tenant];
    default:
      return ['audit', ...tenant];
  }
}
