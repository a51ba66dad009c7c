/**
 * Stops a transaction after each of its steps, so that another one can run into what it holds by then. In the database of the
 * test every statement of the product's PL/pgSQL functions, and every query of a transaction, is a step. Transactions are rolled
 * back where they would commit: each pair finds the rows as they were.
 */
import { Client, type Pool as PgPool, type QueryConfig } from 'pg';
import type { Pool, PoolClient } from '../../store/pool';
import { tellBy } from '../../store/run-tells';

/** A key of advisory locks: whoever reaches the step where it is to stop waits for it. */
const gate = 7238003;

export class LockSteps {
  private constructor(
    private readonly admin: PgPool,
    private readonly gatekeeper: Client,
    private readonly one: Client,
    private readonly other: Client,
  ) {}

  static async start({ admin, adminUrl, appUrl }: { admin: PgPool; adminUrl: string; appUrl: string }) {
    await admin.query(`
      CREATE SCHEMA lock_steps;
      GRANT USAGE ON SCHEMA lock_steps TO PUBLIC;
      CREATE FUNCTION lock_steps.step() RETURNS boolean LANGUAGE plpgsql AS $step$
      DECLARE
        v_step integer := coalesce(nullif(current_setting('lock_steps.step', true), ''), '0')::integer + 1;
      BEGIN
        PERFORM set_config('lock_steps.step', v_step::text, true);
        IF v_step::text = current_setting('lock_steps.stop_after', true) THEN PERFORM pg_advisory_xact_lock_shared(${gate}); END IF;
        RETURN true;
      END $step$;
      DO $change$
      DECLARE
        v_function regprocedure;
        v_text text;
        v_body text;
      BEGIN
        EXECUTE format('ALTER ROLE spendlock_app IN DATABASE %I SET deadlock_timeout = ''10ms''', current_database());
        FOR v_function IN
          SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
          WHERE p.pronamespace = 'copilot_internal'::regnamespace AND l.lanname = 'plpgsql'
        LOOP
          v_text := pg_get_functiondef(v_function);
          v_body := substring(v_text FROM '\\nBEGIN\\n.*$');
          EXECUTE replace(v_text, v_body, regexp_replace(v_body, ';\\n', E';\\n  IF lock_steps.step() THEN END IF;\\n', 'g'));
        END LOOP;
      END $change$`);
    const [gatekeeper, one, other] = [adminUrl, appUrl, appUrl].map(
      (connectionString) => new Client({ connectionString }),
    ) as [Client, Client, Client];
    await Promise.all([gatekeeper, one, other].map((client) => client.connect()));
    return new LockSteps(admin, gatekeeper, one, other);
  }

  async stop(): Promise<void> {
    await Promise.all([this.gatekeeper, this.one, this.other].map((client) => client.end()));
  }

  /**
   * The steps after which a transaction holds other rows than before, and still takes more. One that has none holds nothing while
   * it waits, or waits for nothing.
   */
  async stops(work: Transaction): Promise<number[]> {
    const stops: number[] = [];
    let held = await this.heldRows();
    for (let step = 1; ; step += 1) {
      let now = '';
      const { isStopped, failures } = await this.stoppedAfter(work, step, async () => {
        now = await this.heldRows();
      });
      if (failures.length > 0) throw failures[0];
      if (!isStopped) return stops.slice(0, -1);
      if (now !== held) stops.push(step);
      held = now;
    }
  }

  /** Runs `first` up to a step, lets `second` run as far as it comes, and then lets both go on. Answers what either failed with. */
  async pair(first: Transaction, stopAfter: number, second: Transaction): Promise<unknown[]> {
    let running: Running | undefined;
    const { failures } = await this.stoppedAfter(first, stopAfter, async () => {
      running = this.begin(this.other, second);
      await this.comesToRest(running);
    });
    return [...failures, ...((await running?.ended) ?? [])];
  }

  private async stoppedAfter(
    work: Transaction,
    stopAfter: number,
    meanwhile: () => Promise<void>,
  ): Promise<{ isStopped: boolean; failures: unknown[] }> {
    await this.gatekeeper.query('SELECT pg_advisory_lock($1)', [gate]);
    let isStopped = false;
    const stopped = this.begin(this.one, work, stopAfter);
    try {
      isStopped = await this.comesToRest(stopped);
      if (isStopped) await meanwhile();
    } finally {
      await this.gatekeeper.query('SELECT pg_advisory_unlock($1)', [gate]);
    }
    return { isStopped, failures: await stopped.ended };
  }

  /** Which rows somebody holds, and how strongly. */
  private async heldRows(): Promise<string> {
    const tables = [
      'tenants',
      'cost_quotas',
      'reservations',
      'runs',
      'turns',
      'approvals',
      'money_waiters',
      'money_requests',
      'quota_alerts',
    ];
    const free = tables.flatMap((table) =>
      ['UPDATE', 'NO KEY UPDATE', 'KEY SHARE'].map(
        (strength) =>
          `(SELECT string_agg(id, ' ' ORDER BY id) FROM (SELECT ctid::text AS id FROM copilot_internal.${table} FOR ${strength} SKIP LOCKED) AS rows)`,
      ),
    );
    const { rows } = await this.admin.query<{ free: string }>(`SELECT concat_ws('|', ${free.join(', ')}) AS free`);
    return rows[0]?.free ?? '';
  }

  private begin(client: Client, work: Transaction, stopAfter?: number): Running {
    const { processID: pid } = client as unknown as { processID: number };
    const running: Running = { pid, hasEnded: false, ended: Promise.resolve([]) };
    const failures = (error: unknown): unknown[] => [error];
    const pool = steppingPool(client, stopAfter);
    // Telling who watches is no step of it, and is done once it is over.
    tellBy(pool, this.admin);
    running.ended = work(pool)
      .then(() => [], failures)
      .finally(() => (running.hasEnded = true));
    return running;
  }

  /** True when it waits for a lock, false when it has ended. */
  private async comesToRest(running: Running): Promise<boolean> {
    for (const giveUpMs = Date.now() + 60_000; Date.now() < giveUpMs;) {
      if (running.hasEnded) return false;
      const { rows } = await this.admin.query<{ waits: boolean }>(
        `SELECT wait_event_type = 'Lock' AS waits FROM pg_stat_activity WHERE pid = $1`,
        [running.pid],
      );
      if (rows[0]?.waits) return true;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    throw new Error('A transaction neither ended nor waited for a lock within a minute.');
  }
}

/** A function of the product, given the pool that it uses. */
export type Transaction = (pool: Pool) => Promise<unknown>;

interface Running {
  pid: number;
  hasEnded: boolean;
  ended: Promise<unknown[]>;
}

/** A pool of one connection, each of whose queries is a step, and whose transactions leave nothing behind. */
function steppingPool(client: Client, stopAfter?: number): Pool {
  const settings = `SELECT set_config('lock_steps.stop_after', '${stopAfter ?? 0}', true), set_config('lock_steps.step', '', true)`;
  const step = (): void => void client.query('SELECT lock_steps.step()').catch(() => undefined);
  const query = (asked: string | QueryConfig, values?: unknown[]): Promise<unknown> => {
    const text = typeof asked === 'string' ? asked : asked.text;
    if (text.startsWith('BEGIN')) return client.query(text.replace('BEGIN', `BEGIN; ${settings}`));
    if (text === 'COMMIT' || text === 'ROLLBACK') {
      if (text === 'COMMIT') step();
      return client.query('ROLLBACK');
    }
    step();
    return client.query(asked as string, values);
  };
  const stepping = Object.assign(Object.create(client), { query, release: () => undefined }) as PoolClient;
  return {
    options: {},
    connect: () => Promise.resolve(stepping),
    query: async (asked: string | QueryConfig, values?: unknown[]) => {
      await query('BEGIN');
      try {
        return await query(asked, values);
      } finally {
        await query('COMMIT');
      }
    },
  } as unknown as Pool;
}
