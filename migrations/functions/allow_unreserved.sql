-- Lets an operation go on without a grant: a row that holds nothing, whose cost is recorded in full. It may spend what it asked for,
-- and no more than a decision could have granted: the least whole limit that covers it, the platform's among them, and what its run has left. What the authority
-- has decided meanwhile stands.
CREATE OR REPLACE FUNCTION copilot_internal.allow_unreserved(p_tenant_id text, p_command jsonb) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  INSERT INTO reservations (tenant_id, operation_id, user_id, run_id, kind, step, attempt, resource, model, price_version,
    on_expiry, requested_usd, minimum_usd, granted_usd, status, decided_at, expires_at, unreserved,
    allowed_usd, limit_ids)
  SELECT p_tenant_id, c."operationId", c."userId", c."runId", c.kind, c.step, c.attempt, c.resource, c.model,
    c."priceVersion", c."onExpiry", c."amountUsd", c."minimumUsd", 0, 'granted', clock_timestamp(),
    clock_timestamp() + make_interval(secs => c."ttlSeconds"), true,
    least(c."amountUsd", limit_of_call(p_tenant_id, c."userId", c.resource), (
      SELECT min(now_is.whole_limit_usd) FROM cost_quotas q CROSS JOIN LATERAL current_quota(q) AS now_is
      WHERE q.tenant_id IS NULL AND q.resource_type IN ('all', c.resource)), (
      SELECT greatest(min(l.limit_usd - l.spent_usd - l.reserved_usd), 0) FROM run_limits l
      WHERE l.tenant_id = p_tenant_id AND l.run_id = ANY (own.limit_ids) AND l.limit_usd IS NOT NULL)),
    own.limit_ids
  FROM jsonb_to_record(p_command) AS c (
    "runLimit" jsonb,     "operationId" uuid, "userId" text, "runId" uuid, kind text, step integer, attempt integer, resource text, model text,
    "priceVersion" text, "onExpiry" text, "amountUsd" numeric, "minimumUsd" numeric, "ttlSeconds" double precision)
  LEFT JOIN LATERAL (
    SELECT l.run_id || l.ancestor_ids AS limit_ids FROM run_limits l
    WHERE l.tenant_id = p_tenant_id AND l.run_id = (c."runLimit" ->> 'id')::uuid) AS own ON true
  ON CONFLICT DO NOTHING
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.allow_unreserved(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.allow_unreserved(text, jsonb) TO spendlock_app;
