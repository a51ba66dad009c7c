/**
 * Where the callers of one process wait for their answers. An authority that decides in the same process posts them
 * here after its commit; answers of one elsewhere are looked up in Postgres, all that wait in one query a tenant. A caller
 * that has no answer in time asks in a way that can wait longer: what was decided stays on record.
 */
import type { Logger } from 'pino';
import type { ReserveAnswer, ReserveCommand } from '../core/commands';
import { answerFromRecord } from '../core/decision';
import { readReservations } from '../store/budget-batch';
import type { Pool } from '../store/pool';

/** How often Postgres is asked for answers that were not posted. */
const lookUpMs = 25;

interface Waiting {
  tenantId: string;
  command: ReserveCommand;
  resolve: (answer: ReserveAnswer | undefined) => void;
}

export class ReplyBoard {
  private readonly waiting = new Map<string, Waiting>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly dependencies: { pool: Pool; log: Logger }) {}

  /** Answers of a decision that has committed. Those that nobody waits for here are left alone. */
  post(answer: ReserveAnswer): void {
    this.waiting.get(answer.operationId)?.resolve(answer);
  }

  /** The answer to a command; undefined when there was none in time. Begin to wait before the command is sent. */
  wait(tenantId: string, command: ReserveCommand, timeoutMs: number): Promise<ReserveAnswer | undefined> {
    const { operationId } = command;
    return new Promise((resolve) => {
      const done = (answer: ReserveAnswer | undefined): void => {
        clearTimeout(timeout);
        this.waiting.delete(operationId);
        resolve(answer);
      };
      const timeout = setTimeout(() => done(undefined), timeoutMs);
      this.waiting.set(operationId, { tenantId, command, resolve: done });
      this.lookUpLater();
    });
  }

  private lookUpLater(): void {
    this.timer ??= setTimeout(() => {
      this.lookUp()
        .catch((error: unknown) =>
          this.dependencies.log.debug({ error: String(error) }, 'answers could not be looked up'),
        )
        .finally(() => {
          this.timer = undefined;
          if (this.waiting.size > 0) this.lookUpLater();
        });
    }, lookUpMs);
  }

  private async lookUp(): Promise<void> {
    const byTenant = new Map<string, Waiting[]>();
    for (const waiting of this.waiting.values()) {
      byTenant.set(waiting.tenantId, [...(byTenant.get(waiting.tenantId) ?? []), waiting]);
    }
    for (const [tenantId, all] of byTenant) {
      const operationIds = all.map(({ command }) => command.operationId);
      const found = await readReservations(this.dependencies.pool, { tenantId, operationIds });
      const byId = new Map(found.map((reservation) => [reservation.operationId, reservation]));
      for (const { command, resolve } of all) {
        const reservation = byId.get(command.operationId);
        if (reservation) resolve(answerFromRecord(reservation, command));
      }
    }
  }
}
