/** What a key may do. Administration is of no tenant; every other role is of one. */

/**
 * `administration` does everything, to every tenant. Of a tenant: an `operator` decides on money and permission and starts nothing;
 * an `agent` starts runs, talks and reserves, and approves nothing; a `reader` reads. `tenant` is a key from before there were roles.
 */
export const roles = ['administration', 'operator', 'agent', 'reader', 'tenant'] as const;
export type Role = (typeof roles)[number];
