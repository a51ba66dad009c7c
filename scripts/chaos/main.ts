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
import { unexpectedEnds } from './door-checks';
import { faultNames, inject, type FaultName } from './faults';
import { Installation } from './installation';
import { Load } from './load';
import { Chance } from './random';
import { print, type ChaosReport } from './report';
import { checkEnvelopes } from './envelopes';
import { checkReproduced } from './reproduced';
import { runFigures } from './run-limits';
import { makeTenants } from './tenants';

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
        faultNames({ mandates: true, doors: true, tools: true }),
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
  const load = new Load(installation, tenants, seed);
  const checks = new Checks(installation, tenants);
  // A database that is down cannot be looked at; there will be another look.
  const look = (): Promise<void> => checks.always().catch(() => undefined);
  await load.start(callersPerTenant);
  const injected = new Map<FaultName, number>();
  let reproduced = 0;
  const endMs = Date.now() + minutes * 60_000;
  // Each kind comes before any comes again.
  let deck: FaultName[] = [];
  const all =
    options.only ??
    (broken === undefined ? undefined : brokenBuilds[broken].faults) ??
    faultNames({ ...options, tools: installation.tools !== undefined });
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
    const stopping = load.stop();
    // What is begun may go on for minutes after a broken build is told.
    for (let isOver = broken === undefined; !isOver && !isTold(); await look())
      isOver = await Promise.race([stopping.then(() => true), sleep(2_000, false)]);
    if (!isTold()) await stopping;
  }
  if (!isTold())
    reproduced = await checkAll({ installation, load, checks, isTold, isWhole: broken === undefined }, say);
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
    ...(await runFigures(installation)),
    conversations: load.conversations.length,
    messages: load.messages.length,
    streams: installation.doors?.streams.length ?? 0,
    streamsWhole: installation.doors?.streams.filter(({ isWhole }) => isWhole).length ?? 0,
    agents: installation.doors?.agents.length ?? 0,
    doorsLeftOut: checks.doorsLeftOut,
    ...checks.toolFigures,
    moneyAnswered: checks.moneyAnswered,
    answers: Object.fromEntries([...load.caller.answers].sort(([a], [b]) => a.localeCompare(b))),
    alertsSentAgain: [...installation.alerts.values()].reduce((sum, times) => sum + times.length - 1, 0),
    unexpectedEnds: unexpectedEnds(installation),
    reproduced,
    checks: checks.made,
    violations: checks.violations.length,
    violated: checks.violations,
  };
}

/** What holds once nothing more is begun, until a broken build is told. @returns how many answers what-if reproduced. */
async function checkAll(
  {
    installation,
    load,
    checks,
    isTold,
    isWhole,
  }: { installation: Installation; load: Load; checks: Checks; isTold: () => boolean; isWhole: boolean },
  say: (line: string) => void,
): Promise<number> {
  const unended = (await installation.doors?.unended()) ?? [];
  checks.hold('every agent of another’s ends', unended.length === 0, () => unended.join(', '));
  await checks.settle(load, { timeoutMs: isWhole ? settleMs : brokenSettleMs, waitsForHolds: isWhole }, say);
  if (!isTold()) await checks.afterwards(load);
  await checkEnvelopes(installation, checks.hold);
  return isTold() ? 0 : checkReproduced(installation, checks.hold);
}

/** How many reserves processes decided themselves. */
async function decidedByMandate({ admin }: Installation): Promise<number> {
  const sql = 'SELECT coalesce(sum(granted + denied), 0)::integer AS decided FROM copilot_internal.mandates';
  return (await admin.query<{ decided: number }>(sql)).rows[0]?.decided ?? 0;
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
