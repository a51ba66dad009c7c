/** What goes wrong, one thing after the other, chosen by chance. Each ends healed. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BudgetCommand } from '../../core/budget/commands';
import { budgetCommandsSignal, budgetWorkflowId } from '../../contracts/messages';
import { keyRevoked, locksGivenUp, longAnswersUnread, servedAgain, workflowReset } from './attacks';
import type { ProxyMode } from './database-proxy';
import { passDayOfMonth } from './days';
import { agentsKilled, streamsKilled } from './door-faults';
import type { Installation } from './installation';
import { decidersRace, holdRunsOut, killedInTheMiddle, mandateRecalled, racer, stoppedInTheMiddle } from './mandates';
import type { Chance } from './random';
import type { Scene, Tenant } from './scene';
import { killedWhileCalled, toolsVanish } from './tool-faults';
import { treeSpends } from './trees';

/** Rounds in which two authorities race for the same money, and how long they may take together. */
const racesMax = 25;
const racingMs = 6_000;

const dollar = (operationId: string): BudgetCommand => ({
  type: 'reserve',
  operationId,
  resource: 'e2b',
  amountUsd: '1',
  priceVersion: 'chaos',
  ttlSeconds: 4,
  kind: 'external.call',
});

type Fault = (installation: Installation, chance: Chance, scene: Scene) => Promise<void>;

const someTenant = (chance: Chance, tenants: readonly Tenant[]): string => chance.oneOf(tenants).tenantId;

const always = {
  'worker killed': async (installation, chance) => {
    installation.processes.killWorker(chance.between(0, 1));
    await Promise.resolve();
  },
  'API killed': async (installation, chance) => {
    installation.processes.killApi(chance.between(0, 1));
    await Promise.resolve();
  },
  'Temporal server killed': (installation) => installation.killTemporal(),
  'Postgres killed': (installation) => installation.killPostgres(),
  'a copy of Postgres takes over without the last second': (installation) => installation.failOver(),
  'Postgres slow': (installation, chance) => proxied(installation, 'slow', chance.between(500, 3_000)),
  'Postgres refuses connections': (installation, chance) => proxied(installation, 'refuse', chance.between(300, 2_000)),
  'Postgres out of disk': (installation, chance) => proxied(installation, 'disk-full', chance.between(300, 2_000)),
  'Postgres read-only': async ({ admin }, chance) => {
    await admin.query('ALTER ROLE spendlock_app SET default_transaction_read_only = on');
    await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'spendlock_app'`);
    await sleep(chance.between(500, 2_000));
    await admin.query('ALTER ROLE spendlock_app RESET default_transaction_read_only');
    await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'spendlock_app'`);
  },
  'recordings take 1.5 s under 150 signals a second': async ({ admin, temporal }, chance, { tenants }) => {
    const tenantId = someTenant(chance, tenants);
    const client = await admin.connect();
    const flood = (async () => {
      for (let sent = 0; sent < 300; sent += 1) {
        const command = { type: 'commit' as const, operationId: randomUUID() };
        void temporal.workflow
          .getHandle(budgetWorkflowId(tenantId))
          .signal(budgetCommandsSignal, [command])
          .catch(() => undefined);
        await sleep(1000 / 150);
      }
    })();
    try {
      for (let round = 0; round < 2; round += 1) {
        await client.query('BEGIN');
        await client.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [tenantId]);
        await sleep(1_500);
        await client.query('ROLLBACK');
      }
    } finally {
      client.release();
      await flood;
    }
  },
  'authority terminated': async ({ temporal }, chance, { tenants }) => {
    const handle = temporal.workflow.getHandle(budgetWorkflowId(someTenant(chance, tenants)));
    await handle.terminate('by an operator, in a chaos run');
  },
  'two authorities at once': async (installation, _chance, { look }) => {
    const tenantId = racer;
    const authorities = [budgetWorkflowId(tenantId), `second-${budgetWorkflowId(tenantId)}`];
    const tell = (commands: (workflowId: string) => BudgetCommand[]): Promise<unknown> =>
      Promise.all(authorities.map((workflowId) => installation.tell(tenantId, commands(workflowId), workflowId)));
    const decided = async (operationIds: string[]): Promise<number> => {
      const sql = 'SELECT FROM copilot_internal.reservations WHERE operation_id = ANY ($1)';
      return (await installation.admin.query(sql, [operationIds])).rowCount ?? 0;
    };
    // Each is asked for what only one of them can grant.
    const endMs = Date.now() + racingMs;
    for (let round = 0; round < racesMax && Date.now() < endMs; round += 1) {
      const operationIds = new Map(authorities.map((id) => [id, Array.from({ length: 10 }, () => randomUUID())]));
      await tell((id) => (operationIds.get(id) ?? []).map(dollar));
      for (let wait = 0; wait < 200 && (await decided([...operationIds.values()].flat())) < 20; wait += 1)
        await sleep(25);
      await look();
      await tell((id) =>
        (operationIds.get(id) ?? []).map((operationId): BudgetCommand => ({ type: 'release', operationId })),
      );
    }
  },
  "a period's end": async (installation, _chance, { tenants }) => {
    for (const { tenantId } of tenants) {
      await passDayOfMonth(installation.admin, tenantId);
      // The month goes on, and would be used up in a long run.
      for (const resourceType of ['all', 'llm', 'e2b'])
        await toppedUp(installation, tenantId, { resourceType, period: 'month', amountUsd: '10' });
    }
  },
  'a top-up expires': async (installation, chance, { tenants }) => {
    const expiresAt = new Date(Date.now() + chance.between(1_000, 8_000)).toISOString();
    const order = { period: 'day', amountUsd: String(chance.between(1, 5)), expiresAt };
    await toppedUp(installation, someTenant(chance, tenants), order);
  },
  'Postgres goes silent': async (installation, chance, scene) => {
    await proxied(installation, 'silent', chance.between(500, 3_000));
    await servedAgain(installation, scene);
  },
  'a decision’s connection goes silent in its transaction': async (installation, _chance, scene) => {
    await locksGivenUp(installation, scene);
    await servedAgain(installation, scene);
  },
  'worker stopped': (installation, chance) =>
    installation.processes.stopFor('worker', chance.between(0, 1), chance.between(1_000, 6_000)),
  'API stopped': (installation, chance) =>
    installation.processes.stopFor('API', chance.between(0, 1), chance.between(1_000, 4_000)),
  'alert webhook hangs': async (installation, chance) => {
    installation.webhookHangs = true;
    await sleep(chance.between(2_000, 8_000));
    installation.webhookHangs = false;
  },
  'sandbox provider ill': async ({ e2b }, chance) => {
    e2b.knobs.illWith = 503;
    // Most minutes of illness are short; what outlasts an activity's patience comes too.
    await sleep(chance.is(0.2) ? 60_000 : chance.between(2_000, 15_000));
    e2b.knobs.illWith = undefined;
  },
  'usage that cannot be priced': async ({ anthropic }, chance) => {
    anthropic.knobs.usage = { service_tier: 'of-another-world' };
    await sleep(chance.between(500, 2_000));
    anthropic.knobs.usage = undefined;
  },
  'a workflow reset': workflowReset,
  'a key revoked': keyRevoked,
  'HEAD and answers that nobody reads': longAnswersUnread,
  'sandbox creation loses its reply': async ({ e2b }) => {
    e2b.knobs.loseCreateReplies += 1;
    await Promise.resolve();
  },
  'a tree of runs spends at once': treeSpends,
  'model call is cut off': async ({ anthropic }) => {
    anthropic.knobs.failNext.push({ type: 'cut-before-usage' });
    await Promise.resolve();
  },
} satisfies Record<string, Fault>;

/** Those that need processes which decide under mandates. */
const ofMandates = {
  'a mandate recalled in the middle of batches': mandateRecalled,
  'a deciding process killed in its transaction': killedInTheMiddle,
  'a deciding process stopped in its transaction': stoppedInTheMiddle,
  'two processes decide at once': decidersRace,
  'a hold runs out under a mandate': holdRunsOut,
} satisfies Record<string, Fault>;

/** Those that need other people's agents. */
const ofDoors = {
  'the proxy is killed in the middle of streams': streamsKilled,
  'a worker of agents is killed as they are answered': agentsKilled,
} satisfies Record<string, Fault>;

/** Those that need runs which call tools. */
const ofTools = {
  'the server of tools vanishes': toolsVanish,
  'a worker is killed while a tool is called': killedWhileCalled,
} satisfies Record<string, Fault>;

const faults = { ...always, ...ofMandates, ...ofDoors, ...ofTools };
export type FaultName = keyof typeof faults;
/** What can happen to an installation, with mandates or without, and with what takes part in it. */
export const faultNames = (parts: { mandates: boolean; doors: boolean; tools: boolean }): FaultName[] =>
  Object.keys({
    ...always,
    ...(parts.mandates ? ofMandates : {}),
    ...(parts.doors ? ofDoors : {}),
    ...(parts.tools ? ofTools : {}),
  }) as FaultName[];
export const inject = (name: FaultName, ...args: Parameters<Fault>): Promise<void> => faults[name](...args);

async function proxied({ proxy }: Installation, mode: Exclude<ProxyMode, 'pass'>, durationMs: number): Promise<void> {
  proxy.set(mode);
  await sleep(durationMs);
  proxy.set('pass');
}

async function toppedUp({ apiUrl, apiKey }: Installation, tenantId: string, order: object): Promise<void> {
  await fetch(`${apiUrl}/v1/tenants/${tenantId}/topups`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...order, reason: 'a chaos run' }),
    signal: AbortSignal.timeout(20_000),
  }).catch(() => undefined);
}
