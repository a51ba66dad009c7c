/** What sandboxes cost: `prices sandboxes` and `prices set-sandbox`. */
import { InvalidArgumentError, type Command } from 'commander';
import { formatUsd, parseUsd } from '../core/money';
import { connect } from './api';
import { author } from './options';
import { show, table, type Column } from './output';

interface SandboxPrice {
  priceVersion: string;
  provider: string;
  tier: string;
  effectiveFrom: string;
  vcpu: number;
  memoryMib: number;
  vcpuSecondUsd: string;
  gibSecondUsd: string;
}

/** With every digit that it has: a rate is multiplied by many seconds. */
const rate = (text: string): string => `$${formatUsd(parseUsd(text))}`;

const columns: Column<SandboxPrice>[] = [
  { name: 'provider', of: ({ provider }) => provider },
  { name: 'tier', of: ({ tier }) => tier },
  { name: 'since', of: ({ effectiveFrom }) => effectiveFrom.slice(0, 10) },
  { name: 'vCPU', of: ({ vcpu }) => String(vcpu), right: true },
  { name: 'GiB', of: ({ memoryMib }) => String(memoryMib / 1024), right: true },
  { name: 'vCPU second', of: ({ vcpuSecondUsd }) => rate(vcpuSecondUsd), right: true },
  { name: 'GiB second', of: ({ gibSecondUsd }) => rate(gibSecondUsd), right: true },
];

const whole = (text: string): number => {
  const count = Number(text);
  if (Number.isInteger(count) && count > 0) return count;
  throw new InvalidArgumentError('It must be a whole number above 0.');
};

interface SetOptions {
  vcpu: number;
  memoryMib: number;
  vcpuSecond: string;
  gibSecond: string;
  source: string;
  sourceDate?: string;
  from?: string;
  notes?: string;
  json?: boolean;
}

export function addSandboxPriceCommands(
  prices: Command,
  { moment, day }: { moment: (text: string) => string; day: (text: string) => string },
): void {
  prices
    .command('sandboxes')
    .description('the sandbox tiers in force, per second')
    .option('--all', 'every version, also past and announced ones')
    .action(async ({ all = false, json = false }: { all?: boolean; json?: boolean }) => {
      const { sandboxes } = await connect().get<{ sandboxes: SandboxPrice[] }>(`/v1/prices${all ? '?all=true' : ''}`);
      show(json, sandboxes, () => table(columns, sandboxes, 'No tier is priced; `prices set-sandbox` adds one.'));
    });
  prices
    .command('set-sandbox <tier>')
    .description('adds a version of the price of a tier. The next sandbox uses it')
    .requiredOption('--vcpu <n>', 'how many it has', whole)
    .requiredOption('--memory-mib <n>', 'how much memory it has', whole)
    .requiredOption('--vcpu-second <usd>', 'for each vCPU and second')
    .requiredOption('--gib-second <usd>', 'for each GiB and second')
    .requiredOption('--source <url>', 'who published the figures')
    .option('--source-date <day>', 'when the source said so; today when absent', day)
    .option('--from <moment>', 'when it begins to hold; now when absent', moment)
    .option('--notes <words>', 'what a reader should know')
    .addHelpText(
      'after',
      '\nExample: npx spendlock prices set-sandbox large --vcpu 8 --memory-mib 16384 --vcpu-second 0.000014 --gib-second 0.0000045 --source https://e2b.dev/pricing',
    )
    .action(async (tier: string, { vcpuSecond, gibSecond, sourceDate, from, json = false, ...facts }: SetOptions) => {
      const body = {
        tier,
        ...facts,
        vcpuSecondUsd: vcpuSecond,
        gibSecondUsd: gibSecond,
        sourceDate: sourceDate ?? new Date().toISOString().slice(0, 10),
        ...(from === undefined ? {} : { effectiveFrom: from }),
        author: author(),
      };
      const answer = await connect().send<{ priceVersion: string }>('POST', '/v1/sandbox-prices', body);
      show(json, answer, () => `Added ${answer.priceVersion}.`);
    });
}
