/** Runs that may cost so much and no more, and runs that have money of their own from the start; and what holds of both. */
import type { Installation } from './installation';
import type { Chance } from './random';
import type { Hold } from './scene';

/** What a call of the load's runs asks for is a little above two cents; it costs a tenth of that. */
const mostUsd = ['0.004', '0.015', '0.024', '0.05', '0.5'];
const surelyUsd = ['0.003', '0.015', '0.3'];

/** The limits of a run to begin with, of half of them none. */
export function limitsOfRun(chance: Chance, { canBeGuaranteed }: { canBeGuaranteed: boolean }): Record<string, string> {
  const maxCostUsd = chance.is(0.5) ? chance.oneOf(mostUsd) : undefined;
  const guaranteedUsd = chance.is(0.5) ? chance.oneOf(surelyUsd) : undefined;
  const isGuaranteed =
    canBeGuaranteed && guaranteedUsd !== undefined && Number(guaranteedUsd) <= Number(maxCostUsd ?? guaranteedUsd);
  return { ...(maxCostUsd === undefined ? {} : { maxCostUsd }), ...(isGuaranteed ? { guaranteedUsd } : {}) };
}

/**
 * What was granted for each run with a limit, by whose it is, whatever it was counted for: what is held, and of what was committed as much as
 * had been granted. What a call cost above its grant, or after it had ended, is no grant, and an envelope is spent by its parts.
 */
const grantedOfRuns = `
  SELECT l.tenant_id || ' ' || l.run_id AS run, trim_scale(l.limit_usd)::text AS limit, trim_scale(g.usd)::text AS granted
  FROM copilot_internal.run_limits l
  CROSS JOIN LATERAL (
    SELECT sum(CASE r.status WHEN 'granted' THEN r.granted_usd WHEN 'committed' THEN least(r.granted_usd, c.usd) ELSE 0 END) AS usd
    FROM copilot_internal.reservations r
    CROSS JOIN LATERAL (SELECT coalesce(sum(amount_usd), 0) AS usd FROM copilot_internal.costs_of(r.tenant_id, r.operation_id)) AS c
    WHERE r.tenant_id = l.tenant_id AND (r.run_id = l.run_id OR l.run_id = ANY (r.limit_ids)) AND r.decided_at >= l.created_at
      AND r.envelope_usd IS NULL) AS g
  WHERE g.usd > l.limit_usd`;

/** Money that runs hold for their steps to come, and that have ended. One that was reset may have left some, which is given back later. */
const leftByRuns = `
  SELECT r.tenant_id || ' ' || r.operation_id || ' of run ' || r.run_id || ', which is ' || u.status AS what, u.workflow_id AS "workflowId"
  FROM copilot_internal.reservations r JOIN copilot_internal.runs u USING (run_id)
  WHERE r.envelope_usd IS NOT NULL AND r.attempt IS NOT NULL AND r.status = 'granted'
    AND u.status <> 'running'`;

/** At any time: what runs may cost binds, and what was held for one is gone with it. */
export async function checkRuns({ admin, resets, lost }: Installation, hold: Hold): Promise<void> {
  const { rows: passed } = await admin.query<Record<'run' | 'limit' | 'granted', string>>(grantedOfRuns);
  hold('no run passes its limit', passed.length === 0, () =>
    passed.map(({ run, limit, granted }) => `${run}: granted ${granted} of ${limit}`).join('; '),
  );
  // The end of an envelope may be lost with the Postgres that had it, after its run had seen it.
  if (lost.length > 0) return;
  const { rows } = await admin.query<{ what: string; workflowId: string }>(leftByRuns);
  const left = rows.filter(({ workflowId }) => !resets.has(workflowId));
  hold('an ended run holds no envelope', left.length === 0, () => left.map(({ what }) => what).join('; '));
}

/** Runs that had a limit, and that had money of their own. */
export interface RunFigures {
  runsLimited: number;
  runsGuaranteed: number;
}
export async function runFigures({ admin }: Installation): Promise<RunFigures> {
  const { rows } = await admin.query<RunFigures>(
    `SELECT (SELECT count(*)::integer FROM copilot_internal.runs JOIN copilot_internal.run_limits USING (tenant_id, run_id)) AS "runsLimited",
            (SELECT count(DISTINCT run_id)::integer FROM copilot_internal.reservations
             WHERE envelope_usd IS NOT NULL AND attempt IS NOT NULL AND granted_usd IS NOT NULL) AS "runsGuaranteed"`,
  );
  return rows[0] ?? { runsLimited: 0, runsGuaranteed: 0 };
}
