/** `npx spendlock holds`: the reservations that hold money, and giving one back. */
import { Command } from 'commander';
import type { HoldsView, ReservationView } from '../client';
import { client, everyPage } from './api';
import { author, example, reasonOption, uuid, type Json } from './options';
import { show, table, usd, when, type Column } from './output';

type Hold = HoldsView['holds'][number];

const columns: Column<Hold>[] = [
  { name: 'operation', of: ({ operationId }) => operationId },
  { name: 'what', of: ({ kind }) => kind, extra: true },
  { name: 'user', of: ({ userId }) => userId ?? '–', extra: true },
  { name: 'held', of: ({ grantedUsd }) => usd(grantedUsd), right: true },
  { name: 'call', of: ({ claimed, runId }) => (claimed ? 'under way' : runId === null ? 'not told' : 'not begun') },
  { name: 'runs out (UTC)', of: ({ expiresAt }) => when(expiresAt) },
];

const words = (one: ReservationView): string =>
  Object.entries(one)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name.padEnd(14)} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('\n');

export function holdsCommands(): Command {
  const holds = new Command('holds').description('open reservations');
  const list = holds.command('list <tenant>').description('what holds money now, what runs out first on top');
  example(list, 'holds list acme').action(async (tenantId: string, { json = false }: Json) => {
    const found = await everyPage('holds', (page) => client().budget.holds(tenantId, page));
    const answer = { tenantId, ...found };
    show(json, answer, () => table(columns, answer.holds, 'Nothing is reserved.'));
  });
  const one = holds
    .command('show')
    .argument('<tenant>')
    .argument('<operation>', 'its id', uuid)
    .description('a reservation as it stands, also one that has ended');
  example(one, 'holds show acme 6f1c7b1e-6c1e-4a4e-9a55-0d7a8c1f2b3d').action(
    async (tenantId: string, operation: string, { json = false }: Json) => {
      const answer = await client().reservation(operation, { tenantId });
      show(json, answer, () => words(answer));
    },
  );
  const release = holds
    .command('release')
    .argument('<tenant>')
    .argument('<operation>', 'its id', uuid)
    .description('gives a reservation up, also a claimed one: its call was surely not billed')
    .addOption(reasonOption());
  example(release, 'holds release acme 6f1c7b1e-6c1e-4a4e-9a55-0d7a8c1f2b3d --reason "the worker is gone"').action(
    async (tenantId: string, operation: string, { reason, json = false }: Json & { reason: string }) => {
      const answer = await client().budget.releaseHold(tenantId, operation, { reason, author: author() });
      show(json, answer, () => `${operation} is released.`);
    },
  );
  return holds;
}
