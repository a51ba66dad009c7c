/** The plain alternatives to an authority, behind the same HTTP server: Postgres decides each call under a row lock. */
import type { Authority } from '../../api/http/context';
import type { ReserveAnswer, ReserveCommand } from '../../core/budget/commands';
import { formatUsd } from '../../core/money';
import type { OutcomeAnswer, OutcomeItem } from '../../store/outcomes';
import type { Pool } from '../../store/pool';

const granted = ({ operationId, amountUsd, ttlSeconds }: ReserveCommand): ReserveAnswer => ({
  decision: 'granted',
  operationId,
  grantedUsd: amountUsd,
  partial: false,
  expiresAt: new Date(Date.now() + ttlSeconds * 1000).toISOString(),
});
const written = (operationId: string): OutcomeAnswer => ({
  operationId,
  status: 'granted',
  outcome: null,
  outcomeUsd: null,
  written: true,
  claimedElsewhere: false,
});
const nothing = {
  folded: () => Promise.resolve(true),
  fold: () => undefined,
  releaseUnknown: () => Promise.resolve(false),
  send: () => undefined,
  reload: () => undefined,
  close: async () => undefined,
};
const refused = (): never => {
  throw new Error('The plain alternative refused a call of the benchmark.');
};

/** A statement a call. */
export const plainSql = (pool: Pool): Authority => ({
  ...nothing,
  async reserve(tenantId, command) {
    const { rows } = await pool.query<{ ok: boolean }>('SELECT plain.reserve($1, $2, $3) AS ok', [
      tenantId,
      command.operationId,
      command.amountUsd,
    ]);
    return rows[0]?.ok ? granted(command) : refused();
  },
  async writeOutcome(tenantId, { operationId, costUsd = 0n }) {
    const { rows } = await pool.query<{ ok: boolean }>('SELECT plain.commit($1, $2, $3) AS ok', [
      tenantId,
      operationId,
      formatUsd(costUsd),
    ]);
    return rows[0]?.ok ? written(operationId) : refused();
  },
});

/** The calls that wait, in one statement: what batching gives without a workflow. */
export function coalescedSql(pool: Pool): Authority {
  const reserves = new Coalesced<ReserveCommand, ReserveAnswer>(async (tenantId, commands) => {
    await pool.query('SELECT plain.reserve_many($1, $2, $3)', [
      tenantId,
      commands.map(({ operationId }) => operationId),
      commands[0]?.amountUsd,
    ]);
    return commands.map(granted);
  });
  const commits = new Coalesced<OutcomeItem, OutcomeAnswer>(async (tenantId, items) => {
    await pool.query('SELECT plain.commit_many($1, $2, $3)', [
      tenantId,
      items.map(({ operationId }) => operationId),
      formatUsd(items[0]?.costUsd ?? 0n),
    ]);
    return items.map(({ operationId }) => written(operationId));
  });
  return {
    ...nothing,
    reserve: (tenantId, command) => reserves.call(tenantId, command),
    writeOutcome: (tenantId, item) => commits.call(tenantId, item),
  };
}

class Coalesced<I, O> {
  private waiting: { tenantId: string; item: I; resolve: (answer: O) => void; reject: (error: unknown) => void }[] = [];
  private running = false;

  constructor(private readonly work: (tenantId: string, items: I[]) => Promise<O[]>) {}

  call(tenantId: string, item: I): Promise<O> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ tenantId, item, resolve, reject });
      if (!this.running) void this.run();
    });
  }

  private async run(): Promise<void> {
    this.running = true;
    await new Promise(setImmediate);
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0, 200);
      try {
        const answers = await this.work(
          batch[0]?.tenantId ?? '',
          batch.map(({ item }) => item),
        );
        batch.forEach(({ resolve }, index) => resolve(answers[index] as O));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.running = false;
  }
}
