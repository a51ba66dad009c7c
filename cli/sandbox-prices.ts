/** What sandboxes cost: `prices sandboxes` and `prices set-sandbox`. */
import { InvalidArgumentError, type Command } from 'commander';
import type { SandboxPriceView } from '../client';
import { client } from './api';
import { addSource, author, example, today, whole } from './options';
import { show, table, usdInFull, type Column } from './output';

const columns: Column<SandboxPriceView>[] = [
  { name: 'provider', of: ({ provider }) => provider },
  { name: 'tier', of: ({ tier }) => tier },
  { name: 'since', of: ({ effectiveFrom }) => effectiveFrom.slice(0, 10), extra: true },
  { name: 'vCPU', of: ({ vcpu }) => String(vcpu), right: true },
  { name: 'GiB', of: ({ memoryMib }) => String(memoryMib / 1024), right: true },
  { name: 'vCPU second', of: ({ vcpuSecondUsd }) => usdInFull(vcpuSecondUsd), right: true },
  { name: 'GiB second', of: ({ gibSecondUsd }) => usdInFull(gibSecondUsd), right: true },
];

/** US dollars for a second; the API takes at most twelve decimals, below a dollar. */
const rate = (text: string): string => {
  if (/^0([.][0-9]{1,12})?$/.test(text)) return text;
  throw new InvalidArgumentError(
    'It must be US dollars per second, such as 0.000014, below 1 and with twelve decimals at most.',
  );
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

export function addSandboxPriceCommands(prices: Command): void {
  const list = prices
    .command('sandboxes')
    .description('the sandbox tiers in force, per second')
    .option('--all', 'every version, also past and announced ones');
  example(list, 'prices sandboxes').action(async ({ all = false, json = false }: { all?: boolean; json?: boolean }) => {
    const answer = await client().prices.list({ all });
    show(json, answer, () =>
      table(columns, answer.sandboxes, 'There are no tiers with a price; `prices set-sandbox` adds one.'),
    );
  });
  const set = prices
    .command('set-sandbox <tier>')
    .description('adds a version of the price of a tier. The next sandbox uses it')
    .requiredOption('--vcpu <n>', 'how many it has', whole(1, 1_024))
    .requiredOption('--memory-mib <n>', 'how much memory it has', whole(1, 16_777_216, 'MiB'))
    .requiredOption('--vcpu-second <usd>', 'for each vCPU and second', rate)
    .requiredOption('--gib-second <usd>', 'for each GiB and second', rate);
  addSource(set);
  example(
    set,
    'prices set-sandbox large --vcpu 8 --memory-mib 16384 --vcpu-second 0.000014 --gib-second 0.0000045 --source https://e2b.dev/pricing',
  ).action(async (tier: string, { vcpuSecond, gibSecond, sourceDate, from, json = false, ...facts }: SetOptions) => {
    const answer = await client().prices.addSandbox({
      tier,
      ...facts,
      vcpuSecondUsd: vcpuSecond,
      gibSecondUsd: gibSecond,
      sourceDate: sourceDate ?? today(),
      ...(from === undefined ? {} : { effectiveFrom: from }),
      author: author(),
    });
    show(json, answer, () => `Added ${answer.priceVersion}.`);
  });
}
