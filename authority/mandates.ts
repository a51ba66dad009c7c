/** When an authority lets those who ask decide for themselves: once a tenant asks often enough that its way costs more than the account of them. */
import type { BudgetCommand } from '../core/budget/commands';
import { processClock, type Clock } from './client/clock';

/** So many reserves within so long are reason for a mandate. */
const reservesMin = 3;
const withinMs = 60_000;
/** Tenants that are remembered. One that is forgotten gets its mandate a little later. */
const tenantsMax = 10_000;

export class Mandates {
  private readonly recent = new Map<string, { sinceMs: number; reserves: number }>();

  constructor(private readonly clock: Clock = processClock) {}

  /** What the recording of these commands says of the tenant's mandate. */
  on(tenantId: string, commands: readonly BudgetCommand[]): { opens: boolean } {
    return { opens: this.hasReason(tenantId, commands) };
  }

  private hasReason(tenantId: string, commands: readonly BudgetCommand[]): boolean {
    const reserves = commands.filter(({ type }) => type === 'reserve').length;
    if (reserves === 0) return false;
    const nowMs = this.clock.nowMs();
    const before = this.recent.get(tenantId);
    const isRecent = before !== undefined && nowMs - before.sinceMs < withinMs;
    const now = isRecent ? { ...before, reserves: before.reserves + reserves } : { sinceMs: nowMs, reserves };
    if (!before && this.recent.size >= tenantsMax) this.recent.clear();
    this.recent.set(tenantId, now);
    return now.reserves >= reservesMin;
  }
}
