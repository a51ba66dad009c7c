/**
 * What is left for a payer, as the bound of a call looks at it: a look, which promises nothing. Where much was left a moment ago nobody
 * looks again.
 */
import { standingOf } from '../../core/budget/quotas';
import { roomUsd } from '../../core/budget/room';
import { minUsd, type Usd } from '../../core/money';
import { readGate } from '../../store/gate';
import type { Pool } from '../../store/pool';
import { readRunRoom } from '../../store/run-limits';
import type { CallPayer } from './payer';

type Payer = Pick<CallPayer, 'tenantId' | 'userId' | 'labels' | 'runLimit'>;

/** So long a look is good, for a call that would fit in so many times over. */
const goodMs = 1_000;
const manyTimes = 1_000n;
const payersMax = 10_000;

export class Rooms {
  private readonly looks = new Map<string, { atMs: number; leftUsd: Usd | undefined }>();
  private readonly looking = new Map<string, Promise<Usd | undefined>>();

  constructor(private readonly pool: Pool) {}

  /**
   * What is left of the tightest limit that binds the payer of a call that costs so much at most, its run's among them; undefined where
   * none binds.
   */
  async of(payer: Payer, amountUsd: Usd): Promise<Usd | undefined> {
    const { tenantId, userId, labels = {}, runLimit } = payer;
    const name = JSON.stringify([tenantId, userId, Object.entries(labels).sort(), runLimit?.id]);
    const last = this.looks.get(name);
    const isGood = last && performance.now() - last.atMs < goodMs;
    if (isGood && (last.leftUsd === undefined || last.leftUsd >= amountUsd * manyTimes)) return last.leftUsd;
    const looking = this.looking.get(name) ?? this.look(name, payer);
    return looking;
  }

  private look(name: string, payer: Payer): Promise<Usd | undefined> {
    const looking = this.leftFor(payer)
      .then((leftUsd) => {
        if (this.looks.size >= payersMax) this.looks.clear();
        this.looks.set(name, { atMs: performance.now(), leftUsd });
        return leftUsd;
      })
      .finally(() => this.looking.delete(name));
    this.looking.set(name, looking);
    return looking;
  }

  private async leftFor({ tenantId, userId, labels, runLimit }: Payer): Promise<Usd | undefined> {
    const [{ quotas }, ofRunUsd] = await Promise.all([
      readGate(this.pool, { tenantId, userId, labels }),
      runLimit && readRunRoom(this.pool, tenantId, runLimit),
    ]);
    const quotaUsd = roomUsd(quotas.map(standingOf), { userId, resource: 'llm', labels });
    return quotaUsd === undefined || ofRunUsd === undefined ? (quotaUsd ?? ofRunUsd) : minUsd(quotaUsd, ofRunUsd);
  }
}
