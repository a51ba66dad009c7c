/** What the books have to say of what people were asked for, and of what they answered. */
import { parseUsd } from '../../core/money';
import { askingTenant, type Asker, type Askers, type Said } from './asking';
import type { Installation } from './installation';
import type { Hold } from './scene';

interface RequestRow {
  requestId: string;
  runId: string;
  status: string;
  grantedUsd: string | null;
  decidedBy: string | null;
  runStatus: string;
  /** When it was made, until when it waited, when it was answered and its run ended, in milliseconds since 1970. */
  createdMs: number;
  untilMs: number;
  decidedMs: number | null;
  endedMs: number | null;
  /** Whether the platform lacked money for it at some time, which nobody of its tenant can grant. */
  lacksPlatform: boolean;
}

const ms = (moment: string): string => `(extract(epoch FROM ${moment}) * 1000)::float8`;
const requestRows = `
  SELECT q.request_id::text AS "requestId", q.run_id::text AS "runId", q.status, trim_scale(q.granted_usd)::text AS "grantedUsd",
         q.decided_by AS "decidedBy", r.status AS "runStatus", ${ms('q.created_at')} AS "createdMs", ${ms('q.waits_until')} AS "untilMs",
         ${ms('q.decided_at')} AS "decidedMs", ${ms('r.ended_at')} AS "endedMs",
         EXISTS (SELECT FROM copilot_internal.reservations d WHERE d.tenant_id = q.tenant_id AND d.run_id = q.run_id
                 AND d.refusal #>> '{quota,scope}' = 'platform') AS "lacksPlatform"
  FROM copilot_internal.money_requests q JOIN copilot_internal.runs r USING (run_id)
  WHERE q.tenant_id = $1 ORDER BY q.created_at`;

/** What each limit is topped up by in its period beside what was granted in it: by nobody else of this tenant. */
const toppedUp = `
  SELECT q.scope || ' ' || q.scope_id || ' ' || q.resource_type AS quota, trim_scale(q.topup_usd)::text AS "topupUsd",
         trim_scale(coalesce(g.usd, 0))::text AS "liftedUsd", trim_scale(coalesce(g.granted, 0))::text AS "grantedUsd"
  FROM copilot_internal.cost_quotas q
  LEFT JOIN LATERAL (
    SELECT sum((l ->> 'amountUsd')::numeric) AS usd, sum(m.granted_usd) AS granted
    FROM copilot_internal.money_requests m CROSS JOIN LATERAL jsonb_array_elements(m.lifted) AS l
    WHERE m.tenant_id = q.tenant_id AND m.decided_at >= q.period_start AND l ->> 'scope' = q.scope AND l ->> 'scopeId' = q.scope_id
      AND l ->> 'resourceType' = q.resource_type AND l ->> 'period' = q.period) AS g ON true
  WHERE q.tenant_id = $1 AND (q.topup_usd > 0 OR g.usd > 0)`;

/** What was not heard is told once more by upkeep; a machine that is busy, and what goes wrong, may take the rest. */
const boundMs = 180_000;

/** At any time: a grant is one top-up, however many say it. */
export async function checkTopUps({ admin }: Installation, hold: Hold): Promise<void> {
  const { rows } = await admin.query<Record<'quota' | 'topupUsd' | 'liftedUsd' | 'grantedUsd', string>>(toppedUp, [
    askingTenant,
  ]);
  for (const row of rows)
    hold(
      'a grant is one top-up',
      row.topupUsd === row.liftedUsd && parseUsd(row.liftedUsd) <= parseUsd(row.grantedUsd),
      () => JSON.stringify(row),
    );
}

/** Once everything has ended. @returns how many requests were answered by somebody. */
export async function checkAsking(installation: Installation, { askers }: Askers, hold: Hold): Promise<number> {
  const { rows } = await installation.admin.query<RequestRow>(requestRows, [askingTenant]);
  for (const asker of askers) {
    const own = rows.filter(({ runId }) => runId === asker.runId);
    checkAsker({ installation, hold }, asker, own);
  }
  return rows.filter(({ status }) => status === 'granted' || status === 'refused').length;
}

function checkAsker(
  { installation, hold }: { installation: Installation; hold: Hold },
  asker: Asker,
  own: readonly RequestRow[],
): void {
  const { said, habit, isCancelled, isLate } = asker;
  const isKnown = (firstMs: number, lastMs: number): boolean => !installation.lostBetween(firstMs, lastMs);
  const what = (): string => `${JSON.stringify(asker)}; on record: ${JSON.stringify(own)}`;
  for (const row of own) {
    const answers = said.filter(({ requestId }) => requestId === row.requestId);
    const taken = answers.filter(({ status, fromMs, toMs }) => status === 200 && isKnown(fromMs, toMs));
    const isOne = new Set(taken.map(({ author, decision }) => `${author} ${decision}`)).size <= 1;
    hold('a request for money is answered once', isOne && taken.every((one) => isAnswerOf(row, one)), what);
    const { createdMs, untilMs, decidedMs, endedMs } = row;
    if (!isKnown(createdMs, endedMs ?? Date.now())) continue;
    const isBound = decidedMs !== null && decidedMs <= untilMs + boundMs;
    const goesOn = row.status === 'withdrawn' || row.lacksPlatform || habit === 'too little';
    const isHeard = goesOn || (endedMs ?? Infinity) <= (decidedMs ?? 0) + boundMs;
    hold('nobody waits for an answer beyond its bound', isBound && isHeard, what);
  }
  const last = own.at(-1);
  if (!last || !isKnown(last.createdMs, last.endedMs ?? Date.now())) return;
  if (habit === 'too late' && isLate)
    hold('nothing is granted to what has ended', last.status !== 'granted' && said.every(isRefused), what);
  // A model that is ill ends a run too, whatever it was granted.
  const ends = last.status === 'granted' ? ['completed', 'failed'] : ['quota_exceeded'];
  const isEnded = ends.includes(last.runStatus) || (isCancelled && last.runStatus === 'cancelled');
  hold('a run ends as its request is answered', isEnded || last.status === 'withdrawn', what);
}

const isRefused = ({ status }: Said): boolean => status !== 200;

const isAnswerOf = ({ status, decidedBy, grantedUsd }: RequestRow, { author, decision, amountUsd }: Said): boolean =>
  decidedBy === author &&
  status === (decision === 'grant' ? 'granted' : 'refused') &&
  (amountUsd === undefined || parseUsd(amountUsd) === parseUsd(grantedUsd ?? '0'));
