-- The plain alternative to an authority, for comparison: two functions that reserve and commit under a row lock. The
-- third and fourth take many calls in one statement.
CREATE SCHEMA plain;
CREATE TABLE plain.quotas (tenant_id text PRIMARY KEY, limit_usd numeric NOT NULL, spent_usd numeric NOT NULL DEFAULT 0,
  reserved_usd numeric NOT NULL DEFAULT 0);
CREATE TABLE plain.reservations (tenant_id text NOT NULL, operation_id uuid NOT NULL, granted_usd numeric NOT NULL,
  status text NOT NULL, expires_at timestamptz NOT NULL, PRIMARY KEY (tenant_id, operation_id));
CREATE TABLE plain.cost_records (cost_record_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id text NOT NULL,
  operation_id uuid NOT NULL, amount_usd numeric NOT NULL, posted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (tenant_id, operation_id));

CREATE FUNCTION plain.reserve(p_tenant_id text, p_operation_id uuid, p_amount_usd numeric) RETURNS boolean
  LANGUAGE plpgsql AS $$
DECLARE
  v_quota plain.quotas;
BEGIN
  SELECT * INTO v_quota FROM plain.quotas WHERE tenant_id = p_tenant_id FOR UPDATE;
  IF v_quota.limit_usd - v_quota.spent_usd - v_quota.reserved_usd < p_amount_usd THEN
    RETURN false;
  END IF;
  INSERT INTO plain.reservations VALUES (p_tenant_id, p_operation_id, p_amount_usd, 'granted', clock_timestamp() + interval '5 minutes')
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    UPDATE plain.quotas SET reserved_usd = reserved_usd + p_amount_usd WHERE tenant_id = p_tenant_id;
  END IF;
  RETURN true;
END $$;

CREATE FUNCTION plain.commit(p_tenant_id text, p_operation_id uuid, p_cost_usd numeric) RETURNS boolean
  LANGUAGE plpgsql AS $$
DECLARE
  v_granted numeric;
BEGIN
  PERFORM 1 FROM plain.quotas WHERE tenant_id = p_tenant_id FOR UPDATE;
  UPDATE plain.reservations SET status = 'committed'
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'granted' RETURNING granted_usd INTO v_granted;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO plain.cost_records (tenant_id, operation_id, amount_usd) VALUES (p_tenant_id, p_operation_id, p_cost_usd);
  UPDATE plain.quotas SET reserved_usd = reserved_usd - v_granted, spent_usd = spent_usd + p_cost_usd WHERE tenant_id = p_tenant_id;
  RETURN true;
END $$;

-- Every call asks for the same amount here, so what fits is a number of calls.
CREATE FUNCTION plain.reserve_many(p_tenant_id text, p_operation_ids uuid[], p_amount_usd numeric) RETURNS SETOF uuid
  LANGUAGE plpgsql AS $$
DECLARE
  v_quota plain.quotas;
  v_count integer;
BEGIN
  SELECT * INTO v_quota FROM plain.quotas WHERE tenant_id = p_tenant_id FOR UPDATE;
  RETURN QUERY INSERT INTO plain.reservations
  SELECT p_tenant_id, o.operation_id, p_amount_usd, 'granted', clock_timestamp() + interval '5 minutes'
  FROM unnest(p_operation_ids) AS o (operation_id)
  LIMIT greatest(0, floor((v_quota.limit_usd - v_quota.spent_usd - v_quota.reserved_usd) / p_amount_usd))
  ON CONFLICT DO NOTHING RETURNING operation_id;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  UPDATE plain.quotas SET reserved_usd = reserved_usd + v_count * p_amount_usd WHERE tenant_id = p_tenant_id;
END $$;

CREATE FUNCTION plain.commit_many(p_tenant_id text, p_operation_ids uuid[], p_cost_usd numeric) RETURNS integer
  LANGUAGE plpgsql AS $$
DECLARE
  v_granted numeric;
  v_count integer;
BEGIN
  PERFORM 1 FROM plain.quotas WHERE tenant_id = p_tenant_id FOR UPDATE;
  WITH ended AS (
    UPDATE plain.reservations SET status = 'committed'
    WHERE tenant_id = p_tenant_id AND operation_id = ANY (p_operation_ids) AND status = 'granted'
    RETURNING operation_id, granted_usd
  ), noted AS (
    INSERT INTO plain.cost_records (tenant_id, operation_id, amount_usd) SELECT p_tenant_id, operation_id, p_cost_usd FROM ended
  )
  SELECT coalesce(sum(granted_usd), 0), count(*) INTO v_granted, v_count FROM ended;
  UPDATE plain.quotas SET reserved_usd = reserved_usd - v_granted, spent_usd = spent_usd + v_count * p_cost_usd
  WHERE tenant_id = p_tenant_id;
  RETURN v_count;
END $$;
GRANT USAGE ON SCHEMA plain TO spendlock_app;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA plain TO spendlock_app;
