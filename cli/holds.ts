/** `npx spendlock holds`: the reservations that hold money, and giving one back. */
import { Command } from 'commander';
import type { ReservationView } from '../store/reservations';
import { connect } from './api';
import { author, reasonOption, tenantPath, uuid } from './options';
import { show, table, usd, type Column } from './output';

/** A reservation as the API tells it. `runId` is null for a caller outside Temporal, who need not tell that its call is under way. */
type Hold = Pick<ReservationView, 'operationId' | 'runId' | 'kind' | 'userId' | 'claimed'> & {
  grantedUsd: string;
  expiresAt: string;
};

const columns: Column<Hold>[] = [
  { name: 'operation', of: ({ operationId }) => operationId },
  { name: 'what', of: ({ kind }) => kind },
  { name: 'user', of: ({ userId }) => userId ?? '–' },
  { name: 'held', of: ({ grantedUsd }) => usd(grantedUsd), right: true },
  { name: 'call', of: ({ claimed, runId }) => (claimed ? 'under way' : runId === null ? 'not told' : 'not begun') },
  { name: 'runs out', of: ({ expiresAt }) => expiresAt },
];

export function holdsCommands(): Command {
  const holds = new Command('holds').description('open reservations');
  holds
    .command('list <tenant>')
    .description('what holds money now, what runs out first on top')
    .action(async (tenantId: string, { json = false }: { json?: boolean }) => {
      const answer = await connect().get<{ holds: Hold[] }>(tenantPath(tenantId, 'holds'));
      show(json, answer, () => table(columns, answer.holds, 'Nothing is reserved.'));
    });
  holds
    .command('release')
    .argument('<tenant>')
    .argument('<operation>', 'its id', uuid)
    .description('gives a reservation up, also a claimed one: its call was surely not billed')
    .addOption(reasonOption())
    .action(
      async (tenantId: string, operation: string, { reason, json = false }: { reason: string; json?: boolean }) => {
        const where = tenantPath(tenantId, `holds/${encodeURIComponent(operation)}/release`);
        const answer = await connect().send('POST', where, { reason, author: author() });
        show(json, answer, () => `${operation} is released.`);
      },
    );
  return holds;
}
