import { Command } from 'commander';
import { connect } from './api';
import { show, table, usd, type Column } from './output';

interface Price {
  priceVersion: string;
  provider: string;
  model: string;
  effectiveFrom: string;
  inputUsd: string;
  outputUsd: string;
  cacheReadUsd: string | null;
  sourceDate: string;
}

const columns: Column<Price>[] = [
  { name: 'provider', of: ({ provider }) => provider },
  { name: 'model', of: ({ model }) => model },
  { name: 'since', of: ({ effectiveFrom }) => effectiveFrom.slice(0, 10) },
  { name: 'in / Mtok', of: ({ inputUsd }) => usd(inputUsd), right: true },
  { name: 'out / Mtok', of: ({ outputUsd }) => usd(outputUsd), right: true },
  { name: 'cached', of: ({ cacheReadUsd }) => usd(cacheReadUsd), right: true },
  { name: 'as of', of: ({ sourceDate }) => sourceDate },
];

export function pricesCommands(): Command {
  const prices = new Command('prices').description('what models cost');
  prices
    .command('list')
    .description('the prices in force, per million tokens')
    .option('--model <name>', 'those whose name contains this')
    .option('--all', 'every version, also past and announced ones')
    .action(async ({ model = '', all = false, json = false }: { model?: string; all?: boolean; json?: boolean }) => {
      const { prices: found } = await connect().get<{ prices: Price[] }>(`/v1/prices${all ? '?all=true' : ''}`);
      const wanted = found.filter((price) => price.model.includes(model));
      show(json, wanted, () =>
        table(columns, wanted, 'No such price. Names must match exactly; docs/prices.md shows how to add one.'),
      );
    });
  return prices;
}
