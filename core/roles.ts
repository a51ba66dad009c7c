/** What a key may do. Administration is of no tenant; every other role is of one. */

/**
 * `administration` does everything, to every tenant. Of a tenant: an `operator` decides on money and permission and starts nothing;
 * an `agent` starts runs, talks and reserves, and approves nothing; a `reader` reads. `tenant` is a key from before there were roles.
 */
export const roles = ['administration', 'operator', 'agent', 'reader', 'tenant'] as const;
export type Role = (typeof roles)[number];

/** What a new key of a tenant may be given. */
export const tenantRoles = ['operator', 'agent', 'reader'] as const satisfies readonly Role[];
export type TenantRole = (typeof tenantRoles)[number];

export const isTenantRole = (role: Role): role is TenantRole => (tenantRoles as readonly Role[]).includes(role);

/** What a key may do, of which `role` is stored: nothing for the administration's, and for a tenant's from before there were roles. */
export const roleOfKey = ({ tenantId, role }: { tenantId: string | null; role: TenantRole | null }): Role =>
  role ?? (tenantId === null ? 'administration' : 'tenant');
