/**
 * What is left for a payer, as the bound of a call looks at it: a look, which promises nothing. Where much was left a moment ago nobody
 * looks again.
 */
import { standingOf } from '../../core/budget/quotas';
import { roomUsd } from '../../core/budget/room';
import type { Usd } from '../../core/money';
import { readGate } from '../../store/gate';
import type { Pool } from '../../store/pool';

interface Payer {
  tenantId: string;
  userId?: string | undefined;
}

/** So long a look is good, for a call that would fit in so many times over. */
const goodMs = 1_000;
const manyTimes = 1_000n;
const payersMax = 10_000;

export class Rooms {
  private readonly looks = new Map<string, { atMs: number; quotaUsd: Usd | undefined }>();
  private readonly looking = new Map<string, Promise<Usd | undefined>>();

  constructor(private readonly pool: Pool) {}

  /** What is left of the tightest quota that binds the payer of a call that costs so much at most; undefined where none binds. */
  async of({ tenantId, userId }: Payer, amountUsd: Usd): Promise<Usd | undefined> {
    const name = JSON.stringify([tenantId, userId]);
    const last = this.looks.get(name);
    const isGood = last && performance.now() - last.atMs < goodMs;
    if (isGood && (last.quotaUsd === undefined || last.quotaUsd >= amountUsd * manyTimes)) return last.quotaUsd;
    const looking = this.looking.get(name) ?? this.look(name, { tenantId, userId });
    return looking;
  }

  private look(name: string, { tenantId, userId }: Payer): Promise<Usd | undefined> {
    const looking = readGate(this.pool, { tenantId, userId })
      .then(({ quotas }) => {
        const quotaUsd = roomUsd(quotas.map(standingOf), { userId, resource: 'llm' });
        if (this.looks.size >= payersMax) this.looks.clear();
        this.looks.set(name, { atMs: performance.now(), quotaUsd });
        return quotaUsd;
      })
      .finally(() => this.looking.delete(name));
    this.looking.set(name, looking);
    return looking;
  }
}
