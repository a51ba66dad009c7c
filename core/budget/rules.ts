/** By what a decision is made, beside what Postgres holds: whoever decides under a mandate goes by the same as who opened it. */
import type { Enforced } from './commands';

/**
 * Raised with each change of what is decided, since processes decide directly by default: two versions that decide otherwise must not do
 * so beside each other. A test holds it to the sources of the decision (test/unit/core/rules.test.ts).
 */
export const rulesVersion = 43;

/** The rules of a process, as they stand in a mandate. */
export const rulesOf = (enforced: Enforced): string =>
  [
    rulesVersion,
    ...Object.entries(enforced)
      .sort()
      .map(([resource, binds]) => `${resource}=${binds ? 'on' : 'off'}`),
  ].join(' ');
