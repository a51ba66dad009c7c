-- Up Migration
-- Conversations with their turns, what people are asked, who waits for money, and what streams while it is written.
SET LOCAL ROLE spendlock_owner;

-- One row of this name per installation: sandboxes carry it, so that two installations at one provider leave each other's alone.
CREATE TABLE copilot_internal.installation (
  one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
  installation_id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO copilot_internal.installation DEFAULT VALUES;
GRANT SELECT ON copilot_internal.installation TO spendlock_app;

-- A conversation is a run that is asked more than once. While it is open its status is `running`.
ALTER TABLE copilot_internal.runs
  ADD COLUMN type text NOT NULL DEFAULT 'task' CHECK (type IN ('task', 'conversation')),
  -- Why nothing happens: money that its next step waits for.
  ADD COLUMN waiting jsonb,
  DROP CONSTRAINT runs_task_check,
  ADD CONSTRAINT runs_task_check CHECK (length(task) <= 100000 AND (type = 'conversation') = (task = ''));

-- A user's message and what came of it. They are answered in the order of their numbers, one at a time.
CREATE TABLE copilot_internal.turns (
  turn_id uuid PRIMARY KEY,
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  number integer NOT NULL CHECK (number > 0),
  message text NOT NULL CHECK (length(message) BETWEEN 1 AND 100000),
  status text NOT NULL DEFAULT 'queued'
    CHECK (status IN ('queued', 'running', 'completed', 'quota_exceeded', 'failed', 'interrupted', 'cancelled')),
  failure jsonb,
  -- The step whose number its message took; its model calls come after.
  opening_step integer CHECK (opening_step > 0),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz,
  UNIQUE (run_id, number),
  CHECK ((status IN ('queued', 'running')) = (ended_at IS NULL))
);
CREATE UNIQUE INDEX turns_running ON copilot_internal.turns (run_id) WHERE status = 'running';
CREATE INDEX turns_queued ON copilot_internal.turns (run_id, number) WHERE status = 'queued';

-- Stores a message at the end of its conversation's queue and answers its turn; a repeat answers the same. No row when the
-- conversation is not the tenant's or has ended.
CREATE FUNCTION copilot_internal.add_turn(p_run_id uuid, p_turn_id uuid, p_message text)
  RETURNS TABLE (turn_id uuid, number integer, status text, after_sequence integer)
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  v_tenant_id text;
BEGIN
  SELECT r.tenant_id INTO v_tenant_id FROM runs r
  WHERE r.run_id = p_run_id AND r.type = 'conversation' AND r.status = 'running' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO turns (turn_id, run_id, tenant_id, number, message)
  SELECT p_turn_id, p_run_id, v_tenant_id, coalesce(max(t.number), 0) + 1, p_message FROM turns t WHERE t.run_id = p_run_id
  ON CONFLICT (turn_id) DO NOTHING;
  RETURN QUERY
    SELECT t.turn_id, t.number, t.status,
           (SELECT coalesce(max(e.sequence), 0) FROM run_events e WHERE e.run_id = p_run_id AND e.created_at < t.created_at)
    FROM turns t WHERE t.turn_id = p_turn_id AND t.run_id = p_run_id;
END
$$;

-- What the model is told in place of messages that were summarised, and from where on tool results are shortened.
CREATE TABLE copilot_internal.context_compactions (
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  -- The last message that it stands for.
  through_sequence integer NOT NULL CHECK (through_sequence > 0),
  -- Null: tool results up to there are shortened, and nothing is left out.
  summary text,
  operation_id uuid,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE NULLS NOT DISTINCT (run_id, through_sequence, operation_id)
);

-- What a person is asked: whether a tool may be used, or a question that the model has.
CREATE TABLE copilot_internal.approvals (
  approval_id uuid PRIMARY KEY,
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  turn_id uuid,
  step integer NOT NULL,
  tool_use_id text NOT NULL,
  tool text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('approval', 'question')),
  -- What the tool would be given, or the question.
  input jsonb NOT NULL,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'refused', 'answered', 'withdrawn')),
  answer text,
  decided_by text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  decided_at timestamptz,
  UNIQUE (run_id, step, tool_use_id),
  CHECK ((status = 'pending') = (decided_at IS NULL)),
  CHECK ((status = 'answered') <= (answer IS NOT NULL AND kind = 'question'))
);
CREATE INDEX approvals_pending ON copilot_internal.approvals (tenant_id, created_at) WHERE status = 'pending';

-- Steps that were denied and wait: woken in this order when the money is there.
CREATE TABLE copilot_internal.money_waiters (
  waiter_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  workflow_id text NOT NULL,
  run_id uuid,
  user_id text,
  resource text NOT NULL CHECK (resource IN ('llm', 'e2b')),
  -- The least that it can use.
  needed_usd numeric(38, 12) NOT NULL CHECK (needed_usd >= 0),
  -- Whether its tenant's own quotas stood in the way. What the platform has left its authority cannot tell: then it asks by
  -- itself.
  is_woken boolean NOT NULL,
  waiting_since timestamptz NOT NULL DEFAULT clock_timestamp(),
  woken_at timestamptz
);
CREATE INDEX money_waiters_in_order ON copilot_internal.money_waiters (tenant_id, waiting_since);

-- A reply while it is written, for those who watch. It is gone when the reply is stored, and may be lost in a crash: the reply is
-- not.
CREATE UNLOGGED TABLE copilot_internal.reply_deltas (
  run_id uuid NOT NULL,
  tenant_id text NOT NULL,
  operation_id uuid NOT NULL,
  -- Characters of the reply before it.
  position integer NOT NULL CHECK (position >= 0),
  text text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run_id, operation_id, position)
);

-- The recording of 0005; it also says whether somebody waits for money.
CREATE OR REPLACE FUNCTION copilot_internal.record_budget_batch(p_tenant_id text, p_batch jsonb) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  -- Named in an array too, so that each row is found by its key whatever the planner believes of the table's size.
  v_operation_ids uuid[] := ARRAY(
    SELECT (entry ->> 'operationId')::uuid FROM jsonb_array_elements(p_batch -> 'ledger') AS entry);
BEGIN
  -- load_budget_batch took the locks in this transaction.
  IF current_setting('spendlock.locked_tenant_id', true) IS DISTINCT FROM p_tenant_id THEN
    RAISE EXCEPTION 'record_budget_batch comes after load_budget_batch, in one transaction; nothing was recorded';
  END IF;
  PERFORM apply_quota_changes(p_tenant_id, p_batch -> 'changes');

  INSERT INTO reservations (tenant_id, operation_id, user_id, run_id, kind, step, attempt, resource, model, price_version,
    on_expiry, requested_usd, minimum_usd, granted_usd, status, refusal, decided_at, expires_at, outcome_folded, settlement,
    committed_usd, overrun_usd, posted_at, ended_at, trace_context)
  SELECT p_tenant_id, c."operationId", c."userId", c."runId", coalesce(c.kind, ''), c.step, c.attempt, c.resource, c.model,
    c."priceVersion", c."onExpiry", c."requestedUsd", c."minimumUsd", c."grantedUsd", c.status, c.refusal, c."decidedAt",
    c."expiresAt", c."outcomeFolded", c.settlement, c."committedUsd", c."overrunUsd", c."postedAt", c."endedAt",
    c."traceContext"
  FROM jsonb_to_recordset(p_batch -> 'reservations') AS c (
    "operationId" uuid, "userId" text, "runId" uuid, kind text, step integer, attempt integer, resource text, model text,
    "priceVersion" text, "onExpiry" text, "requestedUsd" numeric, "minimumUsd" numeric, "grantedUsd" numeric, status text,
    refusal jsonb, "decidedAt" timestamptz, "expiresAt" timestamptz, "outcomeFolded" boolean, settlement text,
    "committedUsd" numeric, "overrunUsd" numeric, "postedAt" timestamptz, "endedAt" timestamptz, "traceContext" jsonb)
  ON CONFLICT (tenant_id, operation_id) DO UPDATE SET
    status = excluded.status, expires_at = excluded.expires_at, outcome_folded = excluded.outcome_folded,
    settlement = excluded.settlement, committed_usd = excluded.committed_usd, overrun_usd = excluded.overrun_usd,
    posted_at = excluded.posted_at, ended_at = excluded.ended_at;

  INSERT INTO cost_records (tenant_id, operation_id, entry, user_id, run_id, kind, resource, model, price_version,
    amount_usd, estimated_usd, settlement, usage, posted_at)
  SELECT p_tenant_id, r.operation_id, c.entry, r.user_id, r.run_id, r.kind, r.resource, r.model, r.price_version,
    c."amountUsd", r.granted_usd, c.settlement, r.outcome_usage, c."postedAt"
  FROM jsonb_to_recordset(p_batch -> 'ledger') AS c (
    "operationId" uuid, entry text, "amountUsd" numeric, settlement text, "postedAt" timestamptz)
  JOIN reservations r
    ON r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_operation_ids) AND r.operation_id = c."operationId";

  INSERT INTO quota_alerts (tenant_id, quota_id, kind, threshold, period_start, details)
  SELECT q.tenant_id, q.quota_id, c.kind, c."thresholdBasisPoints" / 10000.0, q.period_start, c.details
  FROM jsonb_to_recordset(p_batch -> 'alerts') AS c (
    "quotaId" uuid, kind text, "thresholdBasisPoints" numeric, details jsonb)
  JOIN cost_quotas q ON q.quota_id = c."quotaId"
  ON CONFLICT DO NOTHING;

  RETURN jsonb_build_object(
    'nextWakeUpMs', (SELECT floor(extract(epoch FROM min(expires_at)) * 1000) FROM reservations
                     WHERE tenant_id = p_tenant_id AND status = 'granted'),
    'alertsDue', (SELECT count(*) FROM quota_alerts
                  WHERE (tenant_id = p_tenant_id OR tenant_id IS NULL) AND sent_at IS NULL),
    'moneyWaiters', EXISTS (SELECT FROM money_waiters WHERE tenant_id = p_tenant_id));
END
$$;

-- The open sandboxes of this installation as the ledger knows them: what the sweeper compares a provider's list with.
CREATE FUNCTION copilot_internal.sandbox_owners(p_operation_ids uuid[], p_run_ids uuid[])
  RETURNS TABLE (run_id uuid, tenant_id text, run_status text, operation_id uuid, kind text, price_version text,
    claimed_at timestamptz, is_open boolean)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT r.run_id, r.tenant_id, r.status, o.operation_id, o.kind, o.price_version, o.claimed_at,
         o.status = 'granted' AND o.claimed_at IS NOT NULL AND o.outcome IS NULL
  FROM runs r
  LEFT JOIN reservations o ON o.run_id = r.run_id AND o.tenant_id = r.tenant_id AND o.kind LIKE 'sandbox.%' AND o.claimed_at IS NOT NULL
    AND (o.operation_id = ANY (p_operation_ids) OR (o.status = 'granted' AND o.outcome IS NULL))
  WHERE r.run_id = ANY (p_run_ids)
$$;

-- Conversations whose next message waits although nobody was told, or not in time: a process may have died in between.
CREATE FUNCTION copilot_internal.unanswered_conversations(p_for interval, p_max integer)
  RETURNS TABLE (tenant_id text, run_id uuid, workflow_id text, turn_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT DISTINCT ON (t.run_id) t.tenant_id, t.run_id, r.workflow_id, t.turn_id
  FROM turns t JOIN runs r ON r.run_id = t.run_id AND r.status = 'running'
  WHERE t.status = 'queued' AND t.created_at < clock_timestamp() - p_for
    AND NOT EXISTS (SELECT FROM turns b WHERE b.run_id = t.run_id AND b.status = 'running')
  ORDER BY t.run_id, t.number LIMIT p_max
$$;

DO $security$
DECLARE
  v_table text;
BEGIN
  FOREACH v_table IN ARRAY ARRAY['turns', 'context_compactions', 'approvals', 'money_waiters', 'reply_deltas']
  LOOP
    EXECUTE format('ALTER TABLE copilot_internal.%I ENABLE ROW LEVEL SECURITY', v_table);
    EXECUTE format('ALTER TABLE copilot_internal.%I FORCE ROW LEVEL SECURITY', v_table);
    EXECUTE format('CREATE POLICY owner_sees_all ON copilot_internal.%I TO spendlock_owner USING (true)', v_table);
    EXECUTE format('CREATE POLICY one_tenant ON copilot_internal.%I TO spendlock_app
      USING (tenant_id = current_setting(''spendlock.tenant_id'', true))', v_table);
  END LOOP;
END
$security$;

GRANT SELECT, INSERT, UPDATE ON copilot_internal.turns, copilot_internal.approvals, copilot_internal.money_waiters TO spendlock_app;
GRANT SELECT, INSERT ON copilot_internal.context_compactions TO spendlock_app;
GRANT DELETE ON copilot_internal.money_waiters TO spendlock_app;
GRANT SELECT, INSERT, DELETE ON copilot_internal.reply_deltas TO spendlock_app;
REVOKE EXECUTE ON FUNCTION
  copilot_internal.add_turn(uuid, uuid, text),
  copilot_internal.sandbox_owners(uuid[], uuid[]),
  copilot_internal.unanswered_conversations(interval, integer)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  copilot_internal.add_turn(uuid, uuid, text),
  copilot_internal.sandbox_owners(uuid[], uuid[]),
  copilot_internal.unanswered_conversations(interval, integer)
  TO spendlock_app;
RESET ROLE;
