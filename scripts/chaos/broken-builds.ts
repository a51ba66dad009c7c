/**
 * Builds that are broken on purpose, to show that a chaos run tells: each takes one safeguard out of the run's own installation, of
 * its database or of the sources as its processes read them. One whose text has changed cannot be made, and says so.
 */
import { beforeUpdate, holdsLeft, replaceInFunction, type BrokenBuild as AnyBrokenBuild } from './breaking';
import type { FaultName } from './faults';
import { doorBuilds } from './broken-doors';
import { limitBuilds } from './broken-limits';
import { toolBuilds } from './broken-tools';

type BrokenBuild = AnyBrokenBuild<FaultName>;

/** Neither the guard of `record_budget_batch` nor the table's is asked, and a row that is there is written over. */
const withoutGuard =
  'DROP TRIGGER refuse_reservation_change ON copilot_internal.reservations;' +
  replaceInFunction('record_budget_batch', 'IF v_wrong IS NOT NULL THEN', 'IF false THEN') +
  replaceInFunction(
    'record_budget_batch',
    'ON CONFLICT DO NOTHING\n    RETURNING operation_id',
    `ON CONFLICT (tenant_id, operation_id) DO UPDATE SET status = excluded.status, granted_usd = excluded.granted_usd,
      expires_at = excluded.expires_at, ended_at = excluded.ended_at
    RETURNING operation_id`,
  );

/** Who decides under a mandate says by which rules. */
const isDirect = "coalesce(current_setting('spendlock.mandate_rules', true), '') <> ''";
const unlockedTenant = `IF ${isDirect} THEN
    PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id;
  ELSE
    PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR NO KEY UPDATE;
  END IF;`;
const unlockedQuotas = `IF ${isDirect} THEN
    RETURN ARRAY(SELECT quota_id FROM quotas_of(p_tenant_id, p_user_ids, '{}'));
  END IF;
  RETURN ARRAY(`;

const knownUnread = replaceInFunction(
  'load_budget_batch',
  "'reservations', v_reservations",
  "'reservations', '[]'::jsonb",
);

const manyBuilds = {
  'row-lock': {
    what: 'decisions no longer lock the rows of their tenant, on a database that takes 1.2 s to write those of the racer',
    told: ['no grant passes a limit'],
    // Without the wait the guard in SQL, which is one statement, leaves a window of about a millisecond.
    sql:
      replaceInFunction('lock_tenant', ' FOR NO KEY UPDATE', '') +
      replaceInFunction('lock_payers', ' FOR NO KEY UPDATE', '') +
      replaceInFunction(
        'record_budget_batch',
        "PERFORM apply_quota_changes(p_tenant_id, p_batch -> 'changes');",
        "PERFORM apply_quota_changes(p_tenant_id, p_batch -> 'changes'); PERFORM pg_sleep(CASE p_tenant_id WHEN 'chaos-race' THEN 1.2 ELSE 0 END);",
      ),
    faults: ['two authorities at once'],
  },
  dedupe: {
    what: 'a repeated command is decided again: known reservations are not read',
    told: ['everything ends'],
    sql: knownUnread,
    faults: ['Postgres slow'],
  },
  recording: {
    what: 'a repeated command is decided again, and the recording writes over the row that is there',
    told: ['reserved equals the open reservations'],
    sql: withoutGuard + knownUnread,
  },
  spelling: {
    what: 'an id in capitals is another id, and the recording writes over the row that is there',
    told: ['reserved equals the open reservations'],
    sql: withoutGuard,
    sources: [
      {
        file: 'core/ids.ts',
        from: 'if (asWritten.test(text)) return text;',
        to: 'if (asRead.test(text)) return text;',
      },
    ],
  },
  order: {
    what: 'what a batch decides is recorded in another order than it was decided in',
    told: ['every recorded answer is reproduced'],
    sources: [
      { file: 'core/budget/batch.ts', from: 'return (this.positions += 1);', to: 'return (this.positions -= 1);' },
    ],
  },
  expiry: {
    what: 'what an expired reservation held is not freed',
    told: ['reserved equals the open reservations'],
    sql: holdsLeft("NEW.status = 'expired'"),
  },
  claim: {
    what: 'a call is made without its claim being written',
    told: ['no paid call without a claim'],
    sql: `
      CREATE OR REPLACE FUNCTION copilot_internal.claim_reservation(p_tenant_id text, p_operation_id uuid, p_claim_token uuid)
        RETURNS numeric LANGUAGE sql VOLATILE AS $claim$
        SELECT granted_usd FROM copilot_internal.reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id
      $claim$;`,
    faults: ['model call is cut off'],
  },
  'claim-lasts': {
    what: 'a claim leaves its reservation the time that is left of it',
    told: ['a claim lasts as long as its call may'],
    sql: beforeUpdate('NEW.claim_token IS NOT NULL', 'NEW.expires_at := OLD.expires_at'),
    faults: ['Postgres slow'],
  },
  'kept-answer': {
    what: 'what a model answered is not kept with its cost',
    told: ['a paid answer is kept'],
    sql: beforeUpdate("NEW.outcome_result ? 'stopReason'", 'NEW.outcome_result := NULL'),
    faults: ['Postgres slow'],
  },
  patience: {
    what: 'the outcome of a paid call is written once, or never',
    told: ['a paid answer is kept'],
    sources: [
      {
        file: 'activities/own-time.ts',
        from: 'if (!mayPass(error) || performance.now() + pauseMs >= untilMs) throw error;',
        to: 'throw error;',
      },
    ],
    faults: ['Postgres refuses connections'],
  },
  unpriced: {
    what: 'an answer that cannot be priced is thrown away',
    told: ['a paid answer is kept'],
    sources: [
      {
        file: 'activities/llm/paid-call.ts',
        from: 'const content = storable(streamed.content ?? []);',
        to: 'if (!priced.isPriced) throw failure(priced.code, priced.reason);\n  const content = storable(streamed.content ?? []);',
      },
    ],
    faults: ['usage that cannot be priced'],
  },
  bought: {
    what: 'a step does not look whether its answer was bought already',
    told: ['no answer is bought twice'],
    sources: [
      {
        file: 'activities/llm/index.ts',
        from: 'if (!reply) return undefined;',
        to: 'if (reply || !reply) return undefined;',
      },
    ],
    faults: ['a workflow reset'],
  },
  'alert-lease': {
    what: 'an alert that somebody is sending is taken by others too',
    told: ['an alert has one sender at a time'],
    sql: replaceInFunction('take_due_alerts', 'clock_timestamp() + p_lease', 'clock_timestamp()'),
    faults: ["a period's end"],
  },
  revocation: {
    what: 'a revoked key speaks for its tenant',
    told: ['a revoked key is refused'],
    sql: replaceInFunction('find_key_owner', ' AND (k.revoked_at IS NULL OR k.revoked_at > clock_timestamp())', ''),
    faults: ['a key revoked'],
  },
  'revocation-told': {
    what: 'a revocation is not told to the processes that remember the key',
    told: ['a revoked key is refused'],
    sql: 'DROP TRIGGER key_changed ON copilot_internal.api_keys;',
    faults: ['a key revoked'],
  },
  'long-answers': {
    what: 'exports take the connections of everybody, as many as are asked for, and nobody is cut off',
    told: ['nobody stands still for another'],
    sources: [
      {
        file: 'api/tenants/deletion-routes.ts',
        from: 'exportTenant(dependencies.exportPool, tenantId)',
        to: 'exportTenant(dependencies.pool, tenantId)',
      },
      {
        file: 'api/http/long-answers.ts',
        from: 'export: { perOwner: 1, all: 4, unreadMs: 30_000, lastMs: 15 * 60_000 },',
        to: 'export: { perOwner: 500, all: 5_000, unreadMs: 600_000, lastMs: 15 * 60_000 },',
      },
    ],
    faults: ['HEAD and answers that nobody reads'],
  },
  silence: {
    what: 'a connection to Postgres that says nothing is waited for without end',
    told: ['everybody is served again'],
    sources: [
      {
        file: 'store/connections.ts',
        from: 'query_timeout: statementMs + databaseLimits.graceMs,',
        to: 'query_timeout: 0,',
      },
      {
        file: 'store/connections.ts',
        from: '(client as Inside).connection.stream.destroy();',
        to: 'void client;',
      },
    ],
    faults: ['Postgres goes silent'],
  },
  'transaction-time': {
    what: 'a decision holds its locks for as long as its client is silent',
    told: ['a silent decision gives its locks up'],
    sources: [
      {
        file: 'store/pool.ts',
        from: 'transaction_timeout: withinMs,',
        to: '',
      },
      {
        file: 'store/pool.ts',
        from: 'idle_in_transaction_session_timeout: pauseMs && Math.min(pauseMs, withinMs ?? pauseMs),',
        to: 'idle_in_transaction_session_timeout: 0,',
      },
    ],
    faults: ['a decision’s connection goes silent in its transaction'],
  },
  recall: {
    what: 'a recalled mandate is decided under all the same',
    told: ['nothing is decided under a recalled mandate'],
    sql: replaceInFunction(
      'is_mandated',
      'open_until > clock_timestamp() AND barred_at IS NULL AND rules = p_rules',
      'rules = p_rules',
    ),
    mandates: true,
    faults: ['a mandate recalled in the middle of batches'],
  },
  'direct-lock': {
    what: 'who decides under a mandate locks nothing, on a database that takes 0.3 s to write what the racer asks for',
    told: ['no grant passes a limit'],
    sql:
      replaceInFunction(
        'lock_tenant',
        'PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR NO KEY UPDATE;',
        unlockedTenant,
      ) +
      replaceInFunction('lock_payers', 'RETURN ARRAY(', unlockedQuotas) +
      replaceInFunction(
        'record_budget_batch',
        "PERFORM apply_quota_changes(p_tenant_id, p_batch -> 'changes');",
        "PERFORM apply_quota_changes(p_tenant_id, p_batch -> 'changes'); PERFORM pg_sleep(CASE p_tenant_id WHEN 'chaos-race' THEN 0.3 ELSE 0 END);",
      ),
    mandates: true,
    faults: ['two processes decide at once'],
  },
  mark: {
    what: 'a decision under a mandate neither marks nor says what it leaves for the authority to do',
    told: ['a hold that was decided under a mandate comes back in time'],
    sql:
      replaceInFunction(
        'record_mandate',
        'CASE WHEN v_urgent OR v_awaited OR v_wake_up_at < wake_up_at THEN coalesce(needed_at, v_now) ELSE needed_at END',
        'needed_at',
      ) +
      replaceInFunction(
        'record_mandate',
        "RETURN jsonb_build_object('leaves', CASE WHEN v_urgent",
        "RETURN jsonb_build_object('leaves', CASE WHEN v_urgent IS NULL",
      ) +
      replaceInFunction(
        'record_mandate',
        'WHEN v_awaited OR v_wake_up_at < v_row.wake_up_at THEN',
        'WHEN v_urgent IS NULL THEN',
      ),
    mandates: true,
    faults: ['a hold runs out under a mandate'],
  },
  ...limitBuilds,
  ...doorBuilds,
  ...toolBuilds,
  fence: {
    what: 'a copy of Postgres takes over while the first one still answers',
    told: ['no acknowledged decision is lost', 'a message that was taken is one turn'],
    isUnfenced: true,
    faults: ['a copy of Postgres takes over without the last second'],
  },
} satisfies Record<string, BrokenBuild>;

export type BrokenBuildName = keyof typeof manyBuilds;
export const brokenBuilds: Record<BrokenBuildName, BrokenBuild> = manyBuilds;
export const brokenBuildNames = Object.keys(manyBuilds) as BrokenBuildName[];
