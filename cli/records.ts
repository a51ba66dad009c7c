/** `npx spendlock audit` and `npx spendlock alerts`: what operators changed, and what was raised. */
import { Command } from 'commander';
import type { AlertsView, AuditView } from '../client';
import { formatUsd, parseUsd } from '../core/money';
import { client } from './api';
import { cursorOption, example, limitOption, type Json, type Page } from './options';
import { moreLines, noneOf, show, table, usd, when, type Column } from './output';

type Entry = AuditView['entries'][number];

/** Enough of a key's id to find it in `keys list`; --json has all of it. */
const keyChars = 8;
/** The name that the sender gave. Where it gave none, the API puts down the key, which has a column of its own. */
const saidBy = ({ author, apiKeyId }: Entry): string =>
  author === null || author === `API key ${apiKeyId}` ? '–' : author;

export const entryColumns: Column<Entry>[] = [
  { name: 'when (UTC)', of: ({ createdAt }) => when(createdAt) },
  { name: 'what', of: ({ action }) => action },
  { name: 'who says so', of: saidBy },
  { name: 'by key', of: ({ apiKeyId }) => apiKeyId?.slice(0, keyChars) ?? '–' },
  { name: 'details', of: ({ details }) => JSON.stringify(details) },
];

type Alert = AlertsView['alerts'][number];
const textOf = (details: Alert['details'], name: string): string | undefined =>
  typeof details[name] === 'string' ? details[name] : undefined;

/** How much a run asks for, and by how much a call passed its grant. */
function amountWords(kind: Alert['kind'], details: Alert['details']): string {
  const [asked, granted, cost] = ['askedUsd', 'grantedUsd', 'costUsd'].map((name) => textOf(details, name));
  if (kind === 'money_request' && asked !== undefined) return ` for ${usd(asked)}`;
  if (kind !== 'overrun' || granted === undefined || cost === undefined) return '';
  return ` by ${usd(formatUsd(parseUsd(cost) - parseUsd(granted)))}`;
}

const alertColumns: Column<Alert>[] = [
  { name: 'raised (UTC)', of: ({ raisedAt }) => when(raisedAt) },
  {
    name: 'what',
    of: ({ kind, threshold, details }) =>
      (kind === 'quota_warning' ? `${kind} at ${threshold}` : kind) +
      amountWords(kind, details) +
      (details.enforced === false ? ' (watched)' : ''),
  },
  {
    name: 'quota',
    of: ({ details }) =>
      ['scope', 'scopeId', 'resourceType', 'period'].flatMap((name) => textOf(details, name) ?? []).join(' '),
  },
  { name: 'limit', of: ({ details }) => usd(textOf(details, 'limitUsd')), right: true },
  { name: 'sent (UTC)', of: ({ sentAt }) => when(sentAt), extra: true },
];

export function auditCommands(): Command {
  const audit = new Command('audit').description('what operators changed, by whom and why');
  const list = audit
    .command('list [tenant]', { isDefault: true })
    .description('the newest first; without a tenant what is of none, such as prices')
    .option('--action <name>', 'only those, such as top_up')
    .addOption(cursorOption())
    .addOption(limitOption())
    .addHelpText(
      'after',
      '\nThe name is what the sender said of itself; the key is what proves it. `keys list` and --json have its whole id.',
    );
  example(list, 'audit acme', 'audit list acme --action top_up --json').action(
    async (tenantId: string | undefined, { json = false, ...options }: Json & Page & { action?: string }) => {
      const answer = await client().audit.list({ ...(tenantId === undefined ? {} : { tenantId }), ...options });
      show(json, answer, () =>
        [table(entryColumns, answer.entries, 'Nothing was changed.'), ...moreLines(answer.nextCursor)].join('\n'),
      );
    },
  );
  return audit;
}

export function alertsCommands(): Command {
  const alerts = new Command('alerts').description('warnings, limits that were reached, and overruns');
  const list = alerts
    .command('list <tenant>', { isDefault: true })
    .description('the newest first')
    .addOption(cursorOption())
    .addOption(limitOption());
  example(list, 'alerts acme').action(async (tenantId: string, { json = false, ...options }: Json & Page) => {
    const answer = await client().alerts.list({ tenantId, ...options });
    show(json, answer, () =>
      [table(alertColumns, answer.alerts, noneOf('alerts', tenantId)), ...moreLines(answer.nextCursor)].join('\n'),
    );
  });
  return alerts;
}
