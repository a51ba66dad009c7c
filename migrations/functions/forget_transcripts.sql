-- Forgets what was said and done in runs that ended before a moment: prompts, answers, programs, files. Their steps and costs
-- stay. Answers of how many runs.
CREATE OR REPLACE FUNCTION copilot_internal.forget_transcripts(p_ended_before timestamptz, p_max integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_runs uuid[] := ARRAY(
    SELECT run_id FROM runs WHERE ended_at < p_ended_before AND transcript_forgotten_at IS NULL
    ORDER BY ended_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED);
BEGIN
  DELETE FROM transcript_messages WHERE run_id = ANY (v_runs);
  DELETE FROM context_compactions WHERE run_id = ANY (v_runs);
  DELETE FROM run_files WHERE run_id = ANY (v_runs);
  DELETE FROM reply_deltas WHERE run_id = ANY (v_runs);
  UPDATE turns SET message = '(forgotten)' WHERE run_id = ANY (v_runs);
  UPDATE approvals SET input = '{}', answer = CASE WHEN answer IS NOT NULL THEN '(forgotten)' END
  WHERE run_id = ANY (v_runs);
  -- Events tell of steps; what they quote goes.
  UPDATE run_events SET data = data - ARRAY['text', 'output', 'code', 'message', 'answer', 'input', 'question', 'summary']
  WHERE run_id = ANY (v_runs) AND data ?| ARRAY['text', 'output', 'code', 'message', 'answer', 'input', 'question', 'summary'];
  UPDATE runs
  SET task = CASE type WHEN 'task' THEN '(forgotten)' ELSE '' END, answer = NULL, title = NULL, options = options - 'instructions',
      transcript_forgotten_at = clock_timestamp()
  WHERE run_id = ANY (v_runs);
  RETURN cardinality(v_runs);
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.forget_transcripts(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.forget_transcripts(timestamptz, integer) TO spendlock_app;
