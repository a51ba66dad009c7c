/** Claims, of which one statement a tenant is under way at a time: what is claimed meanwhile goes into the next. */
import type { Usd } from '../../core/money';
import type { Pool } from '../../store/pool';
import { claimReservations, type OperationKey } from '../../store/reservations';

/** Claims of one statement. */
const claimsMax = 200;

interface Waiting {
  operationId: string;
  claimToken: string;
  resolve: (grantedUsd: Usd | undefined) => void;
  reject: (error: unknown) => void;
}

export class Claims {
  private readonly lanes = new Map<string, Waiting[]>();

  constructor(private readonly pool: Pool) {}

  /** What may be spent; undefined where there is nothing to spend. As `claimReservation`, which says more. */
  claim({ tenantId, operationId, claimToken }: OperationKey & { claimToken: string }): Promise<Usd | undefined> {
    return new Promise((resolve, reject) => {
      const waiting = { operationId, claimToken, resolve, reject };
      const lane = this.lanes.get(tenantId);
      if (lane) return void lane.push(waiting);
      const opened = [waiting];
      this.lanes.set(tenantId, opened);
      void this.claimAll(tenantId, opened);
    });
  }

  private async claimAll(tenantId: string, lane: Waiting[]): Promise<void> {
    while (lane.length > 0) {
      const batch = lane.splice(0, claimsMax);
      try {
        const granted = await claimReservations(this.pool, tenantId, batch);
        for (const [at, { resolve }] of batch.entries()) resolve(granted[at]);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.lanes.delete(tenantId);
  }
}
