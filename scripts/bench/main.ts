/**
 * Measures Spendlock on this machine: `npm run bench`. Prints one JSON object a line: {name, value, unit, …}. Services are
 * started for it, on loopback, and end with it. What is compared takes turns, so that a busy machine slows both.
 */
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { Command, InvalidArgumentError, Option } from 'commander';
import { startServices } from '../embedded/services';
import { appUrlFor, migrate, randomPassword } from '../migrate';
import { measureAuthority, type AuthorityBench } from './authority';
import { measureChat } from './chat';
import { print, type Print } from './report';
import { measureScale } from './scale';
import { measureStarts } from './starts';
import { measureSteps } from './steps';

const parts = ['steps', 'authority', 'chat', 'scale', 'starts'] as const;
type Part = (typeof parts)[number];

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
    .option('--json', 'JSON lines, which is what it always prints')
    .addHelpText('after', '\nExample: npm run bench -- --only authority')
    .parse();
  const {
    only,
    starts,
    clients: clientCounts,
    repetitions,
  } = command.opts<{
    only?: Part;
    starts: boolean;
    clients: number[];
    repetitions: number;
  }>();
  const wants = (part: Part): boolean => only === undefined || only === part;
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const measures: [Part, (bench: AuthorityBench, print: Print) => Promise<void>][] = [
    ['steps', measureSteps],
    ['authority', measureAuthority],
    ['chat', measureChat],
    ['scale', measureScale],
  ];
  const wanted = measures.filter(([part]) => wants(part));
  if (wanted.length > 0)
    await withServices({ clientCounts, repetitions }, async (services) => {
      for (const [, measure] of wanted) await measure(services, print);
    });
  if (wants('starts') && starts)
    for (const { name, seconds } of await measureStarts()) print(name, seconds, 's', { repetitions: 1 });
}

async function withServices(
  options: Pick<AuthorityBench, 'clientCounts' | 'repetitions'>,
  work: (bench: AuthorityBench) => Promise<void>,
): Promise<void> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'spendlock-bench-'));
  await chmod(dataDir, 0o711);
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
  () => process.exit(),
  (error: unknown) => {
    console.error(
      `The benchmark did not finish. ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
    process.exit(1);
  },
);
