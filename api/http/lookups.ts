/** What nearly every request looks up, remembered for some seconds: a change takes effect within that time. */
import type { Pool } from '../../store/pool';
import type { PriceList } from '../../store/prices';
import { readPolicy, tenantExists, type TenantPolicy } from '../../store/tenants';

/** How long an answer is remembered. */
const rememberMs = 5_000;
const entriesMax = 10_000;

/** Remembers what was found; what was not found is asked for again each time. */
class Remembered<T> {
  private readonly entries = new Map<string, { value: T; untilMs: number }>();
  /** Look-ups under way: whoever asks meanwhile waits for the same one. */
  private readonly asked = new Map<string, Promise<T | undefined>>();

  constructor(private readonly find: (name: string) => Promise<T | undefined>) {}

  async of(name: string): Promise<T | undefined> {
    const known = this.entries.get(name);
    if (known && known.untilMs > performance.now()) return known.value;
    let asked = this.asked.get(name);
    if (!asked) {
      asked = this.lookUp(name).finally(() => this.asked.delete(name));
      this.asked.set(name, asked);
    }
    return asked;
  }

  /** The same without what is remembered. */
  anew(name: string): Promise<T | undefined> {
    return this.lookUp(name);
  }

  private async lookUp(name: string): Promise<T | undefined> {
    const value = await this.find(name);
    if (this.entries.size >= entriesMax) this.entries.clear();
    if (value === undefined) this.entries.delete(name);
    else this.entries.set(name, { value, untilMs: performance.now() + rememberMs });
    return value;
  }
}

/** Which tenants there are. */
export class Tenants extends Remembered<true> {
  constructor(pool: Pool) {
    super(async (tenantId) => (await tenantExists(pool, tenantId)) || undefined);
  }
}

/** The prices, for gates: a call itself is priced by what holds at its moment. */
export class Prices extends Remembered<PriceList> {
  constructor(read: () => Promise<PriceList>) {
    super(read);
  }

  async list(): Promise<PriceList> {
    return (await this.of('')) ?? { models: [], sandboxes: [] };
  }
}

/** What a tenant wants done when its authority does not answer. */
export class Policies extends Remembered<TenantPolicy> {
  constructor(pool: Pool) {
    super((tenantId) => readPolicy(pool, tenantId));
  }

  override async of(tenantId: string): Promise<TenantPolicy> {
    return (await super.of(tenantId)) ?? { onUnavailable: 'wait', answerTimeoutMs: 5_000 };
  }
}
