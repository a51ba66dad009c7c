/**
 * `npm run chaos -- --seed N --minutes M --json`: many tenants and runs on an installation of their own while its parts are
 * killed, slowed, refused and misled; the promises are checked during it and afterwards.
 *
 * The seed fixes what is asked for and what goes wrong, in which order; how they fall together is up to the machine.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { BrokenBuild } from './breaking';
import { brokenBuildNames, brokenBuilds, type BrokenBuildName } from './broken-builds';
import { Checks } from './checks';
import { hoarder } from './attacks';
import { unexpectedEnds } from './door-checks';
import { agentsTenant } from './doors';
import { faultNames, inject, type FaultName } from './faults';
import { Installation } from './installation';
import { Load } from './load';
import { racer } from './mandates';
import { Chance } from './random';
import { print, type ChaosReport } from './report';
import { checkReproduced } from './reproduced';
import type { Tenant } from './scene';

interface Options {
  seed: number;
  minutes: number;
  tenants: number;
  broken?: BrokenBuildName;
  mandates: boolean;
  doors: boolean;
  beside?: string;
  only?: FaultName[];
  json: boolean;
}

/** Money for a few dozen calls a day and tenant: limits are met, and days pass. */
const limitUsd = 15;
const userLimitUsd = 6;
const platformLimitUsd = 50;
/** By the day, of each team; and of one by itself. */
const teamLimitUsd = 4;
const searchLimitUsd = 3;
const geocodingLimitUsd = 3;
/** Of what is only watched: less than what binds beside it, and another than any that is set. */
const shadowLimitUsd = 1.9;
const callersPerTenant = 4;
/**
 * How long everything may take to end once nothing goes wrong any more: more than the holds of callers, and than it takes to find a
 * run lost. What a sandbox holds whose provider did not answer ends when its row says so, and is waited for until then.
 */
const settleMs = 240_000;
/** Of a build that is broken on purpose, in which some things never end. */
const brokenSettleMs = 90_000;

async function main(): Promise<void> {
  const number = (text: string): number => {
    const value = Number(text);
    if (!(value > 0)) throw new InvalidArgumentError('It must be a number above 0.');
    return value;
  };
  const command = new Command('chaos')
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
    .description('Breaks an installation of its own in every way at random, and checks that no promise is broken.')
    .option('--seed <n>', 'what is asked for and what goes wrong', number, Date.now() % 1_000_000)
    .option('--minutes <m>', 'how long faults are injected', number, 1)
    .option('--tenants <n>', 'how many tenants', number, 5)
    .addOption(
      new Option('--broken <build>', 'take one safeguard out first, and end when that is told').choices(
        brokenBuildNames,
      ),
    )
    .option('--mandates', 'processes decide under mandates (docs/decisions/0046), and two APIs are asked', true)
    .option('--no-mandates', 'only authorities decide (SPENDLOCK_MANDATES=off)')
    .option(
      '--doors',
      'other people\u2019s agents take part: through the wire proxy, and on a worker with the plugin',
      false,
    )
    .option('--beside <folder>', 'a checkout of another version, whose worker and API run beside those of this one')
    .addOption(
      new Option('--only <fault...>', 'inject these faults and no others').choices(
        faultNames({ mandates: true, doors: true }),
      ),
    )
    .option('--json', 'the report as one line of JSON', false)
    .addHelpText(
      'after',
      '\nExit code: 0 when no promise was broken, 1 when one was, 2 when the run could not be made.',
    )
    .addHelpText(
      'after',
      `\nBroken builds:\n${brokenBuildNames.map((name) => `  ${name.padEnd(16)} ${brokenBuilds[name].what}`).join('\n')}`,
    )
    .addHelpText('after', '\nExample: npm run chaos -- --seed 7 --minutes 5')
    .parse();
  const given = command.opts<Options>();
  const broken: Partial<BrokenBuild> = given.broken === undefined ? {} : brokenBuilds[given.broken];
  const options = {
    ...given,
    mandates: given.broken === undefined ? given.mandates : broken.mandates === true,
    doors: given.broken === undefined ? given.doors : broken.doors === true,
  };
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  say(`chaos: seed ${options.seed}, ${options.minutes} min, ${options.tenants} tenants; starting an installation`);
  const installation = await Installation.start({
    broken,
    mandates: options.mandates,
    doors: options.doors,
    older: options.beside,
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void installation.stop().then(() => process.exit(130)));
  try {
    const report = await run(installation, options, say);
    print(report, options.json);
    process.exitCode = report.isTold === false || report.violations === 0 ? 0 : 1;
  } finally {
    await installation.stop();
  }
}

async function run(installation: Installation, options: Options, say: (line: string) => void): Promise<ChaosReport> {
  const { seed, minutes, broken } = options;
  const chance = new Chance(seed);
  const tenants = await makeTenants(installation, options);
  await installation.openDoors();
  const load = new Load(installation, tenants);
  const checks = new Checks(installation, tenants);
  // A database that is down cannot be looked at; there will be another look.
  const look = (): Promise<void> => checks.always().catch(() => undefined);
  load.start(callersPerTenant);
  const injected = new Map<FaultName, number>();
  let reproduced = 0;
  const endMs = Date.now() + minutes * 60_000;
  // Each kind comes before any comes again.
  let deck: FaultName[] = [];
  const all = options.only ?? (broken === undefined ? undefined : brokenBuilds[broken].faults) ?? faultNames(options);
  // A build that is broken on purpose has been told by then, for what was broken.
  const isTold = (): boolean =>
    broken !== undefined && checks.violations.some(({ promise }) => brokenBuilds[broken].told.includes(promise));
  while (Date.now() < endMs && !isTold()) {
    await sleep(chance.between(500, 3_000));
    if (deck.length === 0) deck = [...all];
    const [name] = deck.splice(chance.between(0, deck.length - 1), 1);
    if (!name) continue;
    say(`chaos: ${name}`);
    try {
      await inject(name, installation, chance, { tenants, load, look, hold: checks.hold });
      injected.set(name, (injected.get(name) ?? 0) + 1);
    } catch (error) {
      // An authority that does not run cannot be terminated, a server that is down cannot be asked.
      say(`chaos: ${name} could not be done: ${String(error)}`);
    }
    await look();
  }
  if (!isTold()) {
    say('chaos: no more faults; waiting for everything to end');
    await load.stop();
    const unended = (await installation.doors?.unended()) ?? [];
    checks.hold('every agent of another’s ends', unended.length === 0, () => unended.join(', '));
    const isWhole = broken === undefined;
    await checks.settle(load, { timeoutMs: isWhole ? settleMs : brokenSettleMs, waitsForHolds: isWhole }, say);
    if (!isTold()) await checks.afterwards(load);
    if (!isTold()) reproduced = await checkReproduced(installation, checks.hold);
  }
  await installation.assertBroken();
  return {
    seed,
    minutes,
    mandates: options.mandates,
    decidedByMandate: await decidedByMandate(installation),
    ...(broken === undefined ? {} : { broken, isTold: isTold() }),
    faults: Object.fromEntries(injected),
    requests: load.told.length,
    runs: load.runs.length,
    conversations: load.conversations.length,
    messages: load.messages.length,
    streams: installation.doors?.streams.length ?? 0,
    streamsWhole: installation.doors?.streams.filter(({ isWhole }) => isWhole).length ?? 0,
    agents: installation.doors?.agents.length ?? 0,
    doorsLeftOut: checks.doorsLeftOut,
    answers: Object.fromEntries([...load.caller.answers].sort(([a], [b]) => a.localeCompare(b))),
    alertsSentAgain: [...installation.alerts.values()].reduce((sum, times) => sum + times.length - 1, 0),
    unexpectedEnds: unexpectedEnds(installation),
    reproduced,
    checks: checks.made,
    violations: checks.violations.length,
    violated: checks.violations,
  };
}

/** How many reserves processes decided themselves. */
async function decidedByMandate({ admin }: Installation): Promise<number> {
  const sql = 'SELECT coalesce(sum(granted + denied), 0)::integer AS decided FROM copilot_internal.mandates';
  return (await admin.query<{ decided: number }>(sql)).rows[0]?.decided ?? 0;
}

/** Tenants whose quotas are by the day, so that days can pass; their users have a default; the platform binds them all. */
async function makeTenants(
  { admin }: Installation,
  { seed, tenants: count, mandates, beside }: Options,
): Promise<Tenant[]> {
  const tenants: Tenant[] = Array.from({ length: count }, (_, index) => ({
    tenantId: `chaos-${index + 1}`,
    chance: new Chance(seed * 1_000 + index),
  }));
  for (const tenantId of [...tenants.map((tenant) => tenant.tenantId), racer, hoarder, agentsTenant]) {
    await admin.query('INSERT INTO copilot_internal.tenants (tenant_id) VALUES ($1)', [tenantId]);
    await admin.query(
      `INSERT INTO copilot_internal.user_quota_defaults (tenant_id, resource_type, period, limit_usd) VALUES ($1, 'all', 'day', $2)`,
      [tenantId, userLimitUsd],
    );
  }
  await admin.query(
    `UPDATE copilot_internal.cost_quotas q SET period = 'day', limit_usd = $1, period_start = b.period_start, period_end = b.period_end
     FROM copilot_internal.period_bounds('day', now()) AS b`,
    [limitUsd],
  );
  await admin.query(
    `INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
     SELECT t.tenant_id, 'tenant', t.tenant_id, 'geocoding', 'day', $1, b.period_start, b.period_end
     FROM copilot_internal.tenants t, copilot_internal.period_bounds('day', now()) AS b`,
    [geocodingLimitUsd],
  );
  // One of the version before is not bound by them.
  const ofTeams =
    beside === undefined ? { each: teamLimitUsd, search: searchLimitUsd } : { each: 1_000, search: 1_000 };
  for (const tenantId of [...tenants.map((tenant) => tenant.tenantId), racer, hoarder]) {
    const ofTeam = { key: 'team', resourceType: 'all', period: 'day' };
    const seed = `SELECT copilot_internal.seed_label_quotas($1, $2, '[]', 0)`;
    await admin.query(seed, [tenantId, { ...ofTeam, value: 'search', limitUsd: String(ofTeams.search) }]);
    await admin.query(
      `INSERT INTO copilot_internal.label_quota_defaults (tenant_id, key, resource_type, period, limit_usd) VALUES ($1, 'team', 'all', 'day', $2)`,
      [tenantId, ofTeams.each],
    );
    await admin.query(seed, [tenantId, { ...ofTeam, limitUsd: String(ofTeams.each) }]);
  }
  // One of the version before counts for these, and raises no alert of theirs.
  await admin.query(
    `INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
     SELECT t.tenant_id, s.scope, coalesce(s.scope_id, t.tenant_id), 'all', 'day', $1, b.period_start, b.period_end
     FROM copilot_internal.tenants t, copilot_internal.period_bounds('day', now()) AS b,
          (VALUES ('shadow_tenant', NULL), ('shadow_user', 'ada'), ('shadow_label', 'team:search')) AS s (scope, scope_id)`,
    [beside === undefined ? shadowLimitUsd : 1_000],
  );
  // What needs the platform's money goes by signal: half of the runs with mandates leave callers without that need.
  const resource = mandates && seed % 2 === 0 ? 'e2b' : 'llm';
  const setPlatform = `SELECT copilot_internal.set_platform_quota($1, 'day', $2, NULL, NULL)`;
  await admin.query(setPlatform, [resource, platformLimitUsd]);
  return tenants;
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    console.error(
      `The chaos run could not be made: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
    process.exit(2);
  },
);
