-- Whether running out with nothing known of its call releases a hold; otherwise it is charged. `isReleasedByExpiry` in
-- core/budget/reservations.ts decides by the same rule; here it says which holds come back by themselves. It pins no search
-- path, so that it is inlined where rows are looked for.
CREATE OR REPLACE FUNCTION copilot_internal.is_released_by_expiry(r copilot_internal.reservations) RETURNS boolean
  LANGUAGE sql IMMUTABLE
AS $$
  SELECT coalesce(r.on_expiry = 'release', r.claimed_at IS NULL)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.is_released_by_expiry(copilot_internal.reservations) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.is_released_by_expiry(copilot_internal.reservations) TO spendlock_app;
