/** Tools of a tenant's own, which its runs may call. */
import type { addedToolView, addToolBody, toolTestView, toolView } from '../api/tools/schemas';
import type { Http } from './http';
import type { OfWhom } from './keys';
import { withoutKey, type Given, type Of, type Ordered } from './views';

export type ToolView = Of<typeof toolView>;
export type AddedToolView = Of<typeof addedToolView>;
export type ToolTestView = Of<typeof toolTestView>;

export function toolsOf(http: Http) {
  const path = (name: string, verb: string): string => `/v1/tools/${encodeURIComponent(name)}/${verb}`;
  return {
    /** All of a tenant's, without their credentials. */
    list: (query: { tenantId?: string } = {}) => http.get<{ tools: ToolView[] }>('/v1/tools', query),
    /** Registers one, or an MCP server with the tools that it lists now. Runs that begin from now on can have it. */
    add: (order: Ordered<Given<typeof addToolBody>>) => http.post<AddedToolView>('/v1/tools', ...withoutKey(order)),
    /** Whether it is reached, and what its server lists otherwise by now. Nothing is called. */
    test: (name: string, order: { tenantId?: string } = {}) => http.post<ToolTestView>(path(name, 'test'), order),
    /** Takes it away, also from runs that have it. */
    remove: (name: string, order: Ordered<OfWhom> = {}) =>
      http.post<{ name: string }>(path(name, 'remove'), ...withoutKey(order)),
  };
}
