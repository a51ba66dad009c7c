/**
 * What has to agree in the books, as SQL: the doctor asks it of one tenant after the other, in pieces, and a chaos run of all at once.
 */

/** Whether a row has the label of a quota `q`, in words of its own; of values that are told apart alone. */
export const isLabelled = (row: string): string =>
  `${row}.labels ->> split_part(q.scope_id, ':', 1) = substr(q.scope_id, strpos(q.scope_id, ':') + 1)`;

/** What the ledger says was spent in the period of a quota `q`. */
export const ledgerOfQuota = `(
  SELECT coalesce(sum(c.amount_usd), 0) FROM copilot_internal.cost_records c
  WHERE c.tenant_id = q.tenant_id AND q.resource_type IN ('all', c.resource) AND (q.scope NOT IN ('user', 'shadow_user') OR c.user_id = q.scope_id)
    AND (q.scope NOT IN ('label', 'shadow_label') OR ${isLabelled('c')}) AND c.posted_at >= q.period_start AND c.posted_at < q.period_end)`;

/**
 * What the open reservations `r` of a tenant hold of a resource, or of `all`: an envelope and its parts are held on each of theirs. `payer`
 * says whose they are.
 */
export const heldOf = ({ tenant, resource, payer }: { tenant: string; resource: string; payer: string }): string => `(
  SELECT coalesce(sum(r.granted_usd), 0)
  -- A database of the version before has no such column: then it is that of the first row.
  FROM (SELECT NULL::text[] AS held_on) AS otherwise CROSS JOIN LATERAL (
    SELECT o.*, held_on AS held FROM copilot_internal.reservations o WHERE o.tenant_id = ${tenant} AND o.status = 'granted') AS r
  WHERE (${resource} IN ('all', r.resource) OR ${resource} = ANY (r.held)) AND ${payer})`;

/** What open reservations hold of a quota `q`. */
export const openOfQuota = heldOf({
  tenant: 'q.tenant_id',
  resource: 'q.resource_type',
  payer: `(q.scope NOT IN ('user', 'shadow_user') OR r.user_id = q.scope_id) AND (q.scope NOT IN ('label', 'shadow_label') OR ${isLabelled('r')})`,
});

/** Limits of labels of a tenant that agree with neither, as the others are told. They are looked at together: a tenant may have thousands. */
export const labelQuotasWrong = (tenant: string): string => `
  SELECT concat_ws(' ', q.scope, q.scope_id, q.resource_type, q.period) AS name, trim_scale(w.spent_usd)::text AS spent,
         trim_scale(w.reserved_usd)::text AS reserved, trim_scale(w.ledger_usd)::text AS ledger, trim_scale(w.open_usd)::text AS open
  FROM copilot_internal.label_quotas_wrong(${tenant}) AS w JOIN copilot_internal.cost_quotas q USING (quota_id)`;

/** Limits of runs whose sums are not those of the ledger and of the open reservations that count for them; of one tenant, or of all. */
export const runSumsWrong = (tenant?: string): string => `
  SELECT l.tenant_id, l.run_id::text AS run_id, trim_scale(l.spent_usd)::text AS spent, trim_scale(l.reserved_usd)::text AS reserved,
         trim_scale(coalesce(s.ledger_usd, 0))::text AS ledger, trim_scale(coalesce(s.open_usd, 0))::text AS open
  FROM copilot_internal.run_limits l
  LEFT JOIN (
    SELECT l.tenant_id, l.run_id, sum(c.cost_usd) AS ledger_usd, sum(r.granted_usd) FILTER (WHERE r.status = 'granted') AS open_usd
    FROM copilot_internal.reservations r
    CROSS JOIN LATERAL unnest(r.limit_ids) AS counts_for (run_id)
    JOIN copilot_internal.run_limits l ON l.tenant_id = r.tenant_id AND l.run_id = counts_for.run_id AND r.decided_at >= l.created_at
    CROSS JOIN LATERAL (
      SELECT sum(amount_usd) AS cost_usd FROM copilot_internal.costs_of(r.tenant_id, r.operation_id)) AS c
    WHERE r.limit_ids IS NOT NULL${tenant === undefined ? '' : ` AND r.tenant_id = ${tenant}`}
    GROUP BY 1, 2) AS s USING (tenant_id, run_id)
  WHERE (l.spent_usd, l.reserved_usd) <> (coalesce(s.ledger_usd, 0), coalesce(s.open_usd, 0))
    ${tenant === undefined ? '' : `AND l.tenant_id = ${tenant}`}
  ORDER BY 1, 2`;

/**
 * Lines of the ledger whose labels are not those of their reservation, among the given ones: a value that is not among the thousand of its
 * key may be `other`.
 */
export const labelsWrong = (reservations: string): string => `
  SELECT r.operation_id::text AS operation_id, c.cost_record_id::text AS cost_record_id, c.labels::text AS labels, r.labels::text AS reserved
  FROM ${reservations} r
  CROSS JOIN LATERAL copilot_internal.costs_of(r.tenant_id, r.operation_id) AS c
  WHERE c.labels IS DISTINCT FROM nullif(r.labels, '{}') AND (
    c.labels IS NULL OR r.labels IS NULL OR NOT ARRAY(SELECT jsonb_object_keys(c.labels)) <@ ARRAY(SELECT jsonb_object_keys(r.labels))
    OR EXISTS (
      SELECT FROM jsonb_each_text(r.labels) AS l
      WHERE c.labels ->> l.key IS DISTINCT FROM l.value AND (c.labels ->> l.key IS DISTINCT FROM 'other' OR EXISTS (
        SELECT FROM copilot_internal.label_values v WHERE v.tenant_id = r.tenant_id AND v.key = l.key AND v.value = l.value))))`;

/** Reservations among the given ones whose end and ledger do not tell the same. */
export const endedWrongly = (reservations: string): string => `
  SELECT r.operation_id::text AS operation_id, r.status, trim_scale(r.committed_usd)::text AS committed,
         trim_scale(c.sum)::text AS ledger, c.commits::integer, c.corrections::integer
  FROM ${reservations} r
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount_usd), 0) AS sum, count(*) FILTER (WHERE entry = 'commit') AS commits,
           count(*) FILTER (WHERE entry = 'correction') AS corrections
    FROM copilot_internal.costs_of(r.tenant_id, r.operation_id)) AS c
  WHERE (r.status = 'committed' AND (c.commits <> 1 OR c.sum <> r.committed_usd))
     OR (r.status IN ('granted', 'denied', 'rejected') AND c.sum <> 0)
     OR (r.status <> 'committed' AND c.commits > 0)
     OR (c.corrections > 0 AND NOT r.outcome_folded)
     OR (r.status IN ('committed', 'released', 'expired')) <> (r.ended_at IS NOT NULL)`;
