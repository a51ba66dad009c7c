-- Lets an operation go on without a grant: a row that holds nothing, whose cost is recorded in full, and which may spend what it is
-- allowed. With a refusal it is recorded as refused, and does not go on. What the authority has decided meanwhile stands. It counts for
-- the limit of its run, which is on record where one was brought: add_run_limits comes before it. It stays with who asked for it: one that
-- asked before and has gone gives nothing of it back.
CREATE OR REPLACE FUNCTION copilot_internal.allow_unreserved(p_tenant_id text, p_command jsonb) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  WITH asked AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_record(p_command) AS c (
      "operationId" uuid, "userId" text, "runId" uuid, kind text, step integer, attempt integer, resource text, model text,
      "priceVersion" text, "onExpiry" text, "amountUsd" numeric, "minimumUsd" numeric, "ttlSeconds" double precision,
      "allowedUsd" numeric, refusal jsonb, "runLimit" jsonb, asker text, labels jsonb,
      "sentLabels" jsonb)
  ), refused AS (
    INSERT INTO reservations (tenant_id, operation_id, user_id, run_id, kind, step, attempt, resource, model, price_version,
      on_expiry, requested_usd, minimum_usd, decided_at, status, refusal, labels, sent_labels, decided_with)
    SELECT p_tenant_id, "operationId", "userId", "runId", kind, step, attempt, resource, model, "priceVersion",
      "onExpiry", "amountUsd", "minimumUsd", clock_timestamp(), refusal ->> 'type', refusal, nullif(labels, '{}'), "sentLabels", '{"isUndecided": true}'
    FROM asked WHERE refusal IS NOT NULL
    ON CONFLICT DO NOTHING
  )
  INSERT INTO reservations (tenant_id, operation_id, user_id, run_id, kind, step, attempt, resource, model, price_version,
    on_expiry, requested_usd, minimum_usd, decided_at, status, granted_usd, expires_at, unreserved, allowed_usd,
    limit_ids, asker, labels, sent_labels, decided_with)
  SELECT p_tenant_id, "operationId", "userId", "runId", kind, step, attempt, resource, model, "priceVersion",
    "onExpiry", "amountUsd", "minimumUsd", clock_timestamp(), 'granted', 0,
    clock_timestamp() + make_interval(secs => "ttlSeconds"), true, "allowedUsd",
    (SELECT l.run_id || l.ancestor_ids FROM run_limits l
     WHERE l.tenant_id = p_tenant_id AND l.run_id = ("runLimit" ->> 'id')::uuid), asker, nullif(labels, '{}'), "sentLabels", '{"isUndecided": true}'
  FROM asked WHERE refusal IS NULL
  ON CONFLICT DO NOTHING
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.allow_unreserved(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.allow_unreserved(text, jsonb) TO spendlock_app;
