/** The places of the dashboard, and their addresses. Ids have nothing in them that would need escaping. */
export type Place =
  { name: 'tenants' } | { name: 'tenant'; tenantId: string } | { name: 'run'; tenantId: string; runId: string };

export function placeOf(hash: string): Place {
  const [, what, tenantId, inner, runId] = hash.split('/');
  if (what !== 'tenants' || !tenantId) return { name: 'tenants' };
  return inner === 'runs' && runId ? { name: 'run', tenantId, runId } : { name: 'tenant', tenantId };
}

export const tenantAddress = (tenantId: string): string => `#/tenants/${tenantId}`;
export const runAddress = (tenantId: string, runId: string): string => `${tenantAddress(tenantId)}/runs/${runId}`;
