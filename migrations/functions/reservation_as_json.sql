-- One reservation as the decision reads it. Amounts are text: JSON numbers would lose digits. A function with settings of its
-- own, such as a search path, is called for each row; this one has none, so that the planner puts it in place. It names nothing
-- that a search path could change.
CREATE OR REPLACE FUNCTION copilot_internal.reservation_as_json(r copilot_internal.reservations) RETURNS json
  LANGUAGE sql STABLE
AS $$
  SELECT pg_catalog.json_build_object(
    'operationId', r.operation_id, 'userId', r.user_id, 'runId', r.run_id, 'kind', r.kind, 'step', r.step,
    'attempt', r.attempt, 'resource', r.resource, 'model', r.model, 'priceVersion', r.price_version,
    'onExpiry', r.on_expiry, 'unreserved', r.unreserved, 'allowedUsd', r.allowed_usd::text,
    'parentId', r.parent_id, 'heldOn', r.held_on, 'envelopeUsd', r.envelope_usd::text, 'returnedUsd', r.returned_usd::text,
    'limitIds', r.limit_ids, 'asker', r.asker, 'labels', r.labels, 'sentLabels', r.sent_labels,
    'requestedUsd', r.requested_usd::text, 'minimumUsd', r.minimum_usd::text, 'grantedUsd', r.granted_usd::text,
    'status', r.status, 'refusal', r.refusal, 'claimed', r.claimed_at IS NOT NULL,
    'decidedAtMs', pg_catalog.floor(extract(epoch FROM r.decided_at) * 1000),
    'expiresAtMs', pg_catalog.floor(extract(epoch FROM r.expires_at) * 1000),
    'outcome', r.outcome, 'outcomeUsd', r.outcome_usd::text, 'outcomeFolded', r.outcome_folded,
    'outcomeUnverified', r.outcome_unverified,
    'settlement', r.settlement, 'committedUsd', r.committed_usd::text, 'overrunUsd', r.overrun_usd::text,
    'postedAtMs', pg_catalog.floor(extract(epoch FROM r.posted_at) * 1000),
    'endedAtMs', pg_catalog.floor(extract(epoch FROM r.ended_at) * 1000))
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.reservation_as_json(copilot_internal.reservations) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.reservation_as_json(copilot_internal.reservations) TO spendlock_app;
