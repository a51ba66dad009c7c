/**
 * Measures Spendlock on this machine: `npm run bench`. Prints one JSON object a line: {name, value, unit, …}. Services are
 * started for it, on loopback, and end with it. What is compared takes turns, so that a busy machine slows both; with `--compare` the
 * figures are set against those that were kept, each as a ratio to fixed work of the same run.
 */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { Command, InvalidArgumentError, Option } from 'commander';
import { startServices } from '../embedded/services';
import { appUrlFor, migrate, randomPassword } from '../migrate';
import { freePort } from '../embedded/ports';
import { measureActions } from './actions';
import { measureAuthority, type AuthorityBench } from './authority';
import { compare, comparisonTable, saveBaseline, type Comparison, type Figure } from './baseline';
import { Calibrator } from './calibration';
import { measureChat } from './chat';
import { measureFairness } from './fairness';
import { measureLedger } from './ledger';
import { measureProxy } from './proxy';
import { print, type Print } from './report';
import { measureScale } from './scale';
import { measureSeveralApis } from './several-apis';
import { measureStarts } from './starts';
import { measureSteps } from './steps';

const parts = [
  'steps',
  'authority',
  'apis',
  'chat',
  'fairness',
  'scale',
  'ledger',
  'proxy',
  'starts',
  'actions',
] as const;
type Part = (typeof parts)[number];
/** Counts, which are the same on every machine: measured when it is asked for, with Temporal's SDK keeping its metrics. */
const askedForOnly: Part[] = ['actions'];
/** The parts whose figures are kept. */
const keptParts: Part[] = ['steps', 'chat'];

const counts = (text: string): number[] =>
  text.split(',').map((one) => {
    const count = Number(one);
    if (Number.isInteger(count) && count > 0) return count;
    throw new InvalidArgumentError('It must be whole numbers above 0, with commas between them.');
  });

async function main(): Promise<void> {
  const command = new Command('bench')
    .description('Measures Spendlock on this machine; one JSON object a line.')
    .addOption(new Option('--only <part>', 'measure one part').choices(parts))
    .option('--clients <counts>', 'how many clients of the authority, in turns', counts, [1, 10, 50, 200])
    .option('--repetitions <n>', 'how often each is measured', (text) => counts(text)[0] ?? 1, 5)
    .option('--no-starts', 'leave out how long npm start takes')
    .option('--compare', 'measure what is kept (steps and chat), and report what has become slower')
    .option('--save-baseline', 'measure the same, and keep it')
    .option('--json', 'JSON lines, which is what it always prints; with --compare the report too')
    .addHelpText(
      'after',
      '\nExit statuses: 0 measured, 1 not, 3 with --compare: something is slower than it was.\n\nExamples:\n  npm run bench -- --only authority\n  npm run bench -- --only actions\n  npm run bench -- --compare',
    )
    .parse();
  const {
    only,
    starts,
    clients: clientCounts,
    repetitions,
    compare: isCompared = false,
    saveBaseline: isSaved = false,
    json = false,
  } = command.opts<{
    only?: Part;
    starts: boolean;
    clients: number[];
    repetitions: number;
    compare?: boolean;
    saveBaseline?: boolean;
    json?: boolean;
  }>();
  const isKept = isCompared || isSaved;
  const wants = (part: Part): boolean =>
    only === undefined ? (!isKept || keptParts.includes(part)) && !askedForOnly.includes(part) : only === part;
  const metricsAddress = wants('actions') ? `127.0.0.1:${await freePort()}` : undefined;
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    ...(metricsAddress === undefined
      ? {}
      : { telemetryOptions: { metrics: { prometheus: { bindAddress: metricsAddress } } } }),
  });
  const measures: [Part, (bench: AuthorityBench, print: Print) => Promise<void>][] = [
    ['steps', measureSteps],
    ['authority', measureAuthority],
    ['apis', measureSeveralApis],
    ['chat', measureChat],
    ['fairness', measureFairness],
    ['scale', measureScale],
    ['ledger', measureLedger],
    ['proxy', measureProxy],
    ['actions', (bench, tell) => measureActions(bench, tell, `http://${metricsAddress}/metrics`)],
  ];
  const wanted = measures.filter(([part]) => wants(part));
  if (wanted.length > 0)
    await withServices({ clientCounts, repetitions }, async (services) => {
      if (!isKept) for (const [, measure] of wanted) await measure(services, print);
      else {
        const figures: Figure[] = [];
        const keep: Print = (name, value, unit, more) => {
          figures.push({ name, value: Math.round(value * 100) / 100, unit });
          print(name, value, unit, more);
        };
        const calibrator = new Calibrator(services.adminUrl);
        await calibrator.measure();
        for (const [, measure] of wanted) {
          await measure(services, keep);
          await calibrator.measure();
        }
        const { result } = calibrator;
        print('calibration.processor_ms', result.processorMs, 'ms');
        print('calibration.database_ms', result.databaseMs, 'ms');
        if (isSaved) saveBaseline(figures, result);
        if (isCompared) report(compare(figures, result), json);
      }
    });
  if (wants('starts') && starts && !isKept)
    for (const { name, seconds } of await measureStarts()) print(name, seconds, 's', { repetitions: 1 });
}

/** Says what has become slower. */
function report(comparisons: Comparison[], json: boolean): void {
  console.log(json ? JSON.stringify({ comparisons }) : comparisonTable(comparisons));
  if (comparisons.some(({ verdict }) => verdict === 'WORSE')) process.exitCode = 3;
}

async function withServices(
  options: Pick<AuthorityBench, 'clientCounts' | 'repetitions'>,
  work: (bench: AuthorityBench) => Promise<void>,
): Promise<void> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'spendlock-bench-'));
  const services = await startServices({ dataDir, ports: { postgres: 0, temporal: 0 }, ephemeral: true });
  try {
    const { adminUrl } = services.postgres;
    const appPassword = randomPassword();
    await migrate({ adminUrl, appPassword });
    await work({
      adminUrl,
      databaseUrl: appUrlFor(adminUrl, appPassword),
      temporalAddress: services.temporal.address,
      services: {
        postgres: { pid: services.postgres.pid, withChildren: true },
        temporal: { pid: services.temporal.pid },
      },
      ...options,
    });
  } finally {
    await services.stop();
  }
}

main().then(
  () => process.exit(process.exitCode),
  (error: unknown) => {
    console.error(
      `The benchmark did not finish. ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
    process.exit(1);
  },
);
