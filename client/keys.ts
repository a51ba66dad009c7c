/** Who may speak to the API. */
import type { createKeyBody, currentKeyView, keyView, newKeyView, rotatedKeyView } from '../api/keys/schemas';
import type { Http } from './http';
import { withoutKey, type Given, type Of, type Ordered } from './views';

export type KeyView = Of<typeof keyView>;
export type NewKeyView = Of<typeof newKeyView>;
export type CurrentKeyView = Of<typeof currentKeyView>;

/** Whose a key is, and the person behind the key that is used. */
export interface OfWhom {
  tenantId?: string;
  author?: string;
}

export function keysOf(http: Http) {
  const path = (apiKeyId: string, verb: string): string => `/v1/keys/${encodeURIComponent(apiKeyId)}/${verb}`;
  return {
    /** Whom this client's own key speaks for. */
    current: () => http.get<CurrentKeyView>('/v1/keys/current'),
    /** Those of a tenant, or of the administration. The keys themselves are kept nowhere. */
    list: (query: { tenantId?: string; cursor?: string; limit?: number } = {}) =>
      http.get<{ keys: KeyView[]; nextCursor: string | null }>('/v1/keys', query),
    /** Makes a key, of the role `agent` where none is said. It is in the answer, and nowhere else. */
    create: (order: Ordered<Given<typeof createKeyBody>>) => http.post<NewKeyView>('/v1/keys', ...withoutKey(order)),
    /** Makes a key in place of one, which is taken for a while longer. */
    rotate: (apiKeyId: string, order: Ordered<OfWhom & { graceSeconds?: number }> = {}) =>
      http.post<Of<typeof rotatedKeyView>>(path(apiKeyId, 'rotate'), ...withoutKey(order)),
    /** Refuses a key from now on; the last one of the administration only where `confirm` is it once more. */
    revoke: (apiKeyId: string, order: Ordered<OfWhom & { confirm?: string }> = {}) =>
      http.post<KeyView>(path(apiKeyId, 'revoke'), ...withoutKey(order)),
  };
}
