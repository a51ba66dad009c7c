/** What models and sandboxes cost. */
import type { addPricesBody, addSandboxPriceBody, priceView, sandboxPriceView } from '../api/prices/schemas';
import type { Http } from './http';
import { withoutKey, type Given, type Of, type Ordered } from './views';

export type PriceView = Of<typeof priceView>;
export type SandboxPriceView = Of<typeof sandboxPriceView>;

export function pricesOf(http: Http) {
  return {
    /** The prices in force; with `all` every version, also past and announced ones. */
    list: ({ all = false }: { all?: boolean } = {}) =>
      http.get<{ prices: PriceView[]; sandboxes: SandboxPriceView[] }>('/v1/prices', all ? { all: 'true' } : {}),
    /** Adds versions of prices, all or none. The next call uses them. */
    add: (order: Ordered<Given<typeof addPricesBody>>) =>
      http.post<{ priceVersions: string[] }>('/v1/prices', ...withoutKey(order)),
    /** Adds a version of the price of a sandbox tier. The next sandbox uses it. */
    addSandbox: (order: Ordered<Given<typeof addSandboxPriceBody>>) =>
      http.post<{ priceVersion: string }>('/v1/sandbox-prices', ...withoutKey(order)),
  };
}
