/** What happens to processes that decide under mandates, and to the mandates. Each says what has to hold of it. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BudgetCommand } from '../../core/budget/commands';
import type { Installation } from './installation';
import type { Chance } from './random';
import type { Scene } from './scene';

/** A tenant that nobody else asks for money, so that each round begins with all of it. */
export const racer = 'chaos-race';

/** Somebody who waits for a process that stands still waits that long at most; the rest is for a machine that is busy. */
const heldUpMs = 5_000;
/** A hold of three seconds has come back by then. */
const holdSeconds = 3;
/** The authority has seen to what it was asked by then, and looks again in a minute. */
const quietMs = 5_000;
const holdBackMs = 25_000;
/** Rounds in which processes race for the same money, and how long they may take together. */
const racesMax = 12;
const racingMs = 8_000;

/** Asks one API, past the callers. Nothing when there is no answer. */
export async function ask(
  { apiKey }: Installation,
  url: string,
  body: {
    tenantId: string;
    runId?: string;
    resource?: string;
    operationId: string;
    amountUsd: string;
    ttlSeconds: number;
  },
): Promise<number | undefined> {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const order = JSON.stringify({ resource: 'e2b', ...body });
  const asked = { method: 'POST', headers, body: order, signal: AbortSignal.timeout(20_000) };
  const answer = await fetch(`${url}/v1/reservations`, asked).catch(() => undefined);
  await answer?.arrayBuffer().catch(() => undefined);
  return answer?.status;
}

/** What was decided of a tenant under mandates so far, and whether others decide for it now. */
async function accountOf({ admin }: Installation, tenantId: string): Promise<{ decided: number; isOpen: boolean }> {
  const { rows } = await admin.query<{ decided: number; open: boolean }>(
    `SELECT (granted + denied)::integer AS decided, coalesce(open_until > clock_timestamp(), false) AS open
     FROM copilot_internal.mandates WHERE tenant_id = $1`,
    [tenantId],
  );
  return { decided: rows[0]?.decided ?? 0, isOpen: rows[0]?.open ?? false };
}

/** Waits for a while until something is decided under the mandate of one of these tenants, and names it. */
async function someDecided(installation: Installation, tenantIds: readonly string[]): Promise<string | undefined> {
  const before = await Promise.all(tenantIds.map((tenantId) => accountOf(installation, tenantId)));
  for (let look = 0; look < 50; look += 1) {
    await sleep(200);
    for (const [index, tenantId] of tenantIds.entries())
      if ((await accountOf(installation, tenantId)).decided > (before[index]?.decided ?? 0)) return tenantId;
  }
  return undefined;
}

const inAnyOrder = (chance: Chance, { tenants }: Scene): string[] =>
  tenants
    .map(({ tenantId }) => ({ tenantId, at: chance.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ tenantId }) => tenantId);

/** An operator recalls a mandate while it is used, and allows it again: in between nobody decides under it. */
export async function mandateRecalled(installation: Installation, chance: Chance, scene: Scene): Promise<void> {
  const tenantId = await someDecided(installation, inAnyOrder(chance, scene));
  if (tenantId === undefined) return;
  const bar = (reason: string | null): Promise<unknown> =>
    installation.admin.query('SELECT copilot_internal.bar_mandate($1, $2)', [tenantId, reason]);
  await bar('by an operator, in a chaos run');
  const atRecall = await accountOf(installation, tenantId);
  await sleep(chance.between(1_000, 4_000));
  const later = await accountOf(installation, tenantId);
  await bar(null);
  scene.hold(
    'nothing is decided under a recalled mandate',
    later.decided === atRecall.decided && !later.isOpen,
    () => `${tenantId}: ${atRecall.decided} decisions when it was recalled, ${later.decided} later`,
  );
}

/**
 * A limit that every decision of its tenant locks. It is one row: whoever waits for another while it has one is waited for by a decision,
 * which takes those of tenant and users by their ids and those of labels after them.
 */
const oneLimitOf = `
  SELECT FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND scope = 'tenant' ORDER BY quota_id LIMIT 1 FOR NO KEY UPDATE`;

/**
 * Waits until a process is in the middle of a decision of a tenant, does something to it there, and lets the rest of the world go on:
 * Postgres has given it the tenant's lock, and waits for what it says next. Names the process; nothing where none decides.
 */
async function inTheMiddle(
  { admin, processes }: Installation,
  tenantId: string,
  signal: NodeJS.Signals,
): Promise<number | undefined> {
  const client = await admin.connect();
  try {
    await client.query('BEGIN');
    await client.query(oneLimitOf, [tenantId]);
    const { rows: own } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const waiting = `
      SELECT split_part(application_name, ' ', 2)::integer AS "processId" FROM pg_stat_activity
      WHERE application_name LIKE 'spendlock-decisions %' AND $1 = ANY (pg_blocking_pids(pid))`;
    // Who waits for longer goes by signal.
    for (let look = 0; look < 30; look += 1) {
      const { rows } = await admin.query<{ processId: number }>(waiting, [own[0]?.pid]);
      const processId = rows[0]?.processId;
      if (processId !== undefined) {
        processes.signalTo(processId, signal);
        return processId;
      }
      await sleep(15);
    }
    return undefined;
  } finally {
    await client.query('ROLLBACK').catch(() => undefined);
    client.release();
  }
}

/** A process is killed, or stands still, with a tenant's lock: others are answered meanwhile. */
const suffersInTheMiddle =
  (signal: 'SIGKILL' | 'SIGSTOP') =>
  async (installation: Installation, chance: Chance, scene: Scene): Promise<void> => {
    let processId: number | undefined;
    let tenantId: string | undefined;
    for (let round = 0; round < 5 && processId === undefined; round += 1) {
      tenantId = await someDecided(installation, inAnyOrder(chance, scene));
      if (tenantId !== undefined) processId = await inTheMiddle(installation, tenantId, signal);
    }
    if (processId === undefined || tenantId === undefined) return;
    const resumed = sleep(chance.between(2_000, 6_000)).then(() =>
      signal === 'SIGSTOP' ? installation.processes.signalTo(processId, 'SIGCONT') : undefined,
    );
    const beganMs = performance.now();
    const url = installation.processes.apiUrl(processId);
    // What the platform does not bind: its money may be waited for by another road.
    const body = { tenantId, resource: 'geocoding', operationId: randomUUID(), amountUsd: '0.0001', ttlSeconds: 5 };
    const status = await ask(installation, url, body);
    const tookMs = performance.now() - beganMs;
    await resumed;
    scene.hold(
      'who stands still holds nobody up',
      status === undefined || (status < 500 && tookMs < heldUpMs),
      () => `${tenantId} was answered ${status} after ${Math.round(tookMs)} ms, while ${processId} had got ${signal}`,
    );
  };
export const killedInTheMiddle = suffersInTheMiddle('SIGKILL');
export const stoppedInTheMiddle = suffersInTheMiddle('SIGSTOP');

/** Asks until the racer's tenant is decided for by who is asked. */
async function openForRacer(installation: Installation): Promise<boolean> {
  for (let call = 0; call < 60; call += 1) {
    const before = await accountOf(installation, racer);
    const body = { tenantId: racer, operationId: randomUUID(), amountUsd: '0.000001', ttlSeconds: 1 };
    await ask(installation, installation.apiUrl, body);
    if ((await accountOf(installation, racer)).decided > before.decided) return true;
    await sleep(200);
  }
  return false;
}

/** Two processes that decide, and the authority, are asked at once for what only one of them can grant. */
export async function decidersRace(installation: Installation, _chance: Chance, { look }: Scene): Promise<void> {
  const endMs = Date.now() + racingMs;
  for (let round = 0; round < racesMax && Date.now() < endMs; round += 1) {
    if (!(await openForRacer(installation))) return;
    const ids = (count: number): string[] => Array.from({ length: count }, () => randomUUID());
    const [byHttp, bySignal] = [ids(20), ids(5)];
    const dollar = {
      resource: 'e2b',
      amountUsd: '1',
      priceVersion: 'chaos',
      ttlSeconds: 4,
      kind: 'external.call',
    } as const;
    await Promise.all([
      ...byHttp.map((operationId) =>
        ask(installation, installation.apiUrl, { tenantId: racer, operationId, amountUsd: '1', ttlSeconds: 4 }),
      ),
      installation.tell(
        racer,
        bySignal.map((operationId) => ({ type: 'reserve', operationId, ...dollar })),
      ),
    ]);
    await look();
    await installation.tell(
      racer,
      [...byHttp, ...bySignal].map((operationId): BudgetCommand => ({ type: 'release', operationId })),
    );
  }
}

/** A hold that a process decided runs out before the tenant's authority would look by itself. */
export async function holdRunsOut(installation: Installation, _chance: Chance, { hold }: Scene): Promise<void> {
  if (!(await openForRacer(installation))) return;
  await sleep(quietMs);
  const before = await accountOf(installation, racer);
  const operationId = randomUUID();
  const body = { tenantId: racer, operationId, amountUsd: '1', ttlSeconds: holdSeconds };
  if ((await ask(installation, installation.apiUrl, body)) !== 201) return;
  // The authority knows of what it decided itself.
  if ((await accountOf(installation, racer)).decided === before.decided) return;
  const sql = `SELECT status FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2`;
  let status: string | undefined = 'granted';
  for (const endMs = Date.now() + holdBackMs; status === 'granted' && Date.now() < endMs; await sleep(250))
    status = (await installation.admin.query<{ status: string }>(sql, [racer, operationId])).rows[0]?.status;
  hold(
    'a hold that was decided under a mandate comes back in time',
    status !== 'granted',
    () => `${operationId} of ${holdSeconds} s is still held after ${holdBackMs} ms`,
  );
}
