/** `npx spendlock holds`: reservations, from asking for one to its end. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { HoldsView, ReservationView } from '../client';
import type { Labels } from '../core/labels';
import { omitUndefined } from '../core/omit-undefined';
import { client, everyPage } from './api';
import {
  amount,
  author,
  callOption,
  resource,
  example,
  labelOption,
  reasonOption,
  uuid,
  whole,
  type Json,
} from './options';
import { envelopeWords, noneOf, show, table, unreservedWords, usd, when, type Column } from './output';

type Hold = HoldsView['holds'][number];

/** How far the call of a hold is. */
function progress(hold: Hold): string {
  const { outcome, claimed, runId } = hold;
  const ofEnvelope = envelopeWords(hold);
  if (ofEnvelope !== undefined) return ofEnvelope;
  // The authority folds it, once it answers.
  if (outcome !== null) return outcome === 'billed' ? 'cost told, not in the balances yet' : 'given up, still held';
  return claimed ? 'under way' : runId === null ? 'not told' : 'not begun';
}

const columns: Column<Hold>[] = [
  { name: 'operation', of: ({ operationId }) => operationId },
  { name: 'what', of: ({ kind }) => kind, extra: true },
  { name: 'user', of: ({ userId }) => userId ?? '–', extra: true },
  { name: 'held', of: ({ grantedUsd }) => usd(grantedUsd), right: true },
  {
    name: 'call',
    of: (hold) => `${progress(hold)}${unreservedWords(hold)}`,
  },
  { name: 'part of', of: ({ parentOperationId }) => parentOperationId ?? '–', extra: true },
  { name: 'runs out (UTC)', of: ({ expiresAt }) => when(expiresAt) },
];

const refusedWords = ({ refused }: ReservationView): string => `${refused?.code}: ${refused?.message}`;
const words = (one: ReservationView): string =>
  Object.entries(one)
    .filter(([, value]) => value !== null)
    .map(([name, value]): [string, unknown] => [name, name === 'refused' ? refusedWords(one) : value])
    .map(([name, value]) => `${name.padEnd(14)} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('\n');

const someOperation = '6f1c7b1e-6c1e-4a4e-9a55-0d7a8c1f2b3d';

export function holdsCommands(): Command {
  const holds = new Command('holds').description('reservations: money that is held for a call');
  const list = holds.command('list <tenant>').description('what holds money now, what runs out first on top');
  example(list, 'holds list acme').action(async (tenantId: string, { json = false }: Json) => {
    const found = await everyPage('holds', (page) => client().budget.holds(tenantId, page));
    const answer = { tenantId, ...found };
    show(json, answer, () => table(columns, answer.holds, noneOf('holds', tenantId)));
  });
  addReserve(holds);
  const of = (verb: string, description: string): Command =>
    holds.command(verb).argument('<tenant>').argument('<operation>', 'its id', uuid).description(description);
  example(of('show', 'a reservation as it stands, also one that has ended'), `holds show acme ${someOperation}`).action(
    async (tenantId: string, operation: string, { json = false }: Json) => {
      const answer = await client().reservation(operation, { tenantId });
      show(json, answer, () => words(answer));
    },
  );
  addClaims(of);
  addEnds(of);
  return holds;
}

interface ReserveOptions extends Json {
  resource: string;
  minimum?: string;
  ttl?: number;
  onExpiry?: 'release' | 'settle';
  user?: string;
  kind?: string;
  model?: string;
  operation?: string;
  label?: Labels;
  envelope?: boolean | string[];
  parent?: string;
  orBeyond?: boolean;
}

/** How long a reservation may be held. */
const seconds = whole(1, 604_800, 'seconds');

function addReserve(holds: Command): void {
  const reserve = holds
    .command('reserve')
    .argument('<tenant>')
    .argument('<usd>', 'what the call may cost at most, in US dollars', amount)
    .description('asks for money for a call of your own: reserve, call, commit')
    .addOption(callOption())
    .option('--minimum <usd>', 'the least of use: with less than all left, that is granted', amount)
    .option('--ttl <seconds>', 'how long it is held; 300 when absent', seconds)
    .addOption(
      new Option('--on-expiry <what>', 'what running out means: nothing was billed, or all of it is charged').choices([
        'release',
        'settle',
      ]),
    )
    .option('--user <id>', 'on whose account, beside the tenant')
    .option('--kind <name>', 'what the ledger calls it')
    .option('--model <name>', 'what is called')
    .addOption(labelOption('what it is for'))
    .addOption(new Option('--operation <id>', 'its id; asking again under it gets the same answer').argParser(uuid))
    .addOption(
      new Option(
        '--envelope [resources...]',
        'it is for parts to come, of its resource and these: each is reserved with --parent',
      ).conflicts('parent'),
    )
    .addOption(new Option('--parent <id>', 'it is a part of this envelope').argParser(uuid))
    .option('--or-beyond', 'with --parent: what that has no room for is asked of the limits');
  example(
    reserve,
    'holds reserve acme 0.25 --ttl 600 --label team=search',
    `holds reserve acme 1 --operation ${someOperation} --json`,
    'holds reserve acme 10 --ttl 86400 --envelope llm e2b',
    `holds reserve acme 2 --parent ${someOperation}`,
  ).action(async (tenantId: string, amountUsd: string, options: ReserveOptions) => {
    const { resource, minimum, ttl, onExpiry, user, kind, model, operation, label, json = false } = options;
    const { envelope, parent, orBeyond } = options;
    const answer = await client().reserve({
      tenantId,
      amountUsd,
      resource,
      ...omitUndefined({ minimumUsd: minimum, ttlSeconds: ttl, onExpiry, kind, model }),
      ...omitUndefined({ userId: user, operationId: operation, labels: label }),
      ...omitUndefined({ parentOperationId: parent, orBeyond }),
      ...(envelope === undefined ? {} : { envelope: true }),
      ...(Array.isArray(envelope) ? { resources: envelope } : {}),
    });
    const { operationId, grantedUsd, partial, expiresAt, unreserved } = answer;
    const how = unreserved ? 'without a grant, since nobody answered' : 'granted';
    show(json, answer, () =>
      [
        `${operationId}: ${usd(grantedUsd)} ${partial ? 'of it ' : ''}${how}, until ${when(expiresAt)} UTC. ${envelope ? 'For its parts:' : 'After the call:'}`,
        envelope
          ? `  npx spendlock holds reserve ${tenantId} USD --parent ${operationId}`
          : `  npx spendlock holds commit ${tenantId} ${operationId} USD`,
      ].join('\n'),
    );
  });
}

type Of = (verb: string, description: string) => Command;

function addClaims(of: Of): void {
  const claim = of('claim', 'says that the call is about to be made: its money does not come back by itself any more');
  example(claim, `holds claim acme ${someOperation}`).action(
    async (tenantId: string, operation: string, { json = false }: Json) => {
      const answer = await client().claim(operation, { tenantId });
      show(json, answer, () => `${operation} is claimed. To end it: --claim-token ${answer.claimToken}`);
    },
  );
  const extend = of('extend', 'holds it for at least so long from now').argument('<seconds>', 'how long', seconds);
  example(extend, `holds extend acme ${someOperation} 600`).action(
    async (tenantId: string, operation: string, ttlSeconds: number, { json = false }: Json) => {
      const answer = await client().extend(operation, { tenantId, ttlSeconds });
      show(json, answer, () => `${operation} is held until ${when(answer.expiresAt)} UTC.`);
    },
  );
}

const claimTokenOption = (): Option =>
  new Option('--claim-token <token>', 'of one that was claimed: what its claim answered').argParser(uuid);

interface CommitOptions extends Json, Partial<Pick<ReserveOptions, 'resource' | 'user' | 'kind' | 'model'>> {
  claimToken?: string;
  usage?: unknown;
  confirm?: boolean;
  reason?: string;
  unreserved?: boolean;
  amount?: string;
}

/** What a call was that nobody had granted. @throws Error where something of it is said of a call that had its grant. */
function unreservedOf({ unreserved = false, resource: given, amount: amountUsd, user: userId, ...of }: CommitOptions) {
  const { kind, model } = of;
  if (unreserved) return { resource: given ?? ('llm' as const), ...omitUndefined({ amountUsd, userId, kind, model }) };
  if ([given, amountUsd, userId, kind, model].every((one) => one === undefined)) return undefined;
  throw new InvalidArgumentError(
    '--resource, --amount, --user, --kind and --model are of a call without a reservation: say --unreserved.',
  );
}

function jsonValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new InvalidArgumentError(`It must be JSON, such as '{"inputTokens": 1200}' (${(error as Error).message}).`);
  }
}

function addEnds(of: Of): void {
  const commit = of('commit', 'records what the call cost')
    .argument('<usd>', 'what it cost in US dollars', amount)
    .addOption(claimTokenOption())
    .option('--usage <json>', 'what the call used, for the ledger, such as its tokens', jsonValue)
    .option(
      '--confirm',
      'as an operator: it was billed so, although it is more than $1 and 100 times what was granted, or another claimed it; needs --reason',
    )
    .addOption(reasonOption('with --confirm: why, for the audit, which keeps that of the first time'))
    .option(
      '--unreserved',
      'it was made without a reservation, since nobody answered; for a tenant whose policy is allow',
    )
    .addOption(
      new Option(
        '--resource <name>',
        'of an unreserved call: llm, e2b, or another such as geocoding; llm when absent',
      ).argParser(resource),
    )
    .option('--amount <usd>', 'of an unreserved call: what it would have asked for', amount)
    .option('--user <id>', 'of an unreserved call: on whose account, beside the tenant')
    .option('--kind <name>', 'of an unreserved call: what the ledger calls it')
    .option('--model <name>', 'of an unreserved call: what was called');
  example(
    commit,
    `holds commit acme ${someOperation} 0.0173`,
    `holds commit acme ${someOperation} 0.0173 --usage '{"inputTokens": 1200, "outputTokens": 300}'`,
    `holds commit acme ${someOperation} 0.0173 --unreserved --resource llm --model claude-haiku-4-5`,
    `holds commit acme ${someOperation} 312.40 --confirm --reason "on the provider's bill"`,
  ).action(async (tenantId: string, operation: string, costUsd: string, options: CommitOptions) => {
    const { claimToken, usage, confirm, reason, json = false } = options;
    const unreserved = unreservedOf(options);
    if (reason !== undefined && !confirm)
      throw new InvalidArgumentError('--reason is of a cost that is confirmed: say --confirm.');
    if (confirm && reason === undefined)
      throw new InvalidArgumentError('--confirm needs --reason: why it is confirmed stands in the audit.');
    const confirmed = confirm ? { confirm, author: author(), ...omitUndefined({ reason }) } : {};
    const outcome = { tenantId, costUsd, ...confirmed, ...omitUndefined({ claimToken, usage, unreserved }) };
    const answer = await client().commit(operation, outcome);
    const again = reason !== undefined && answer.confirmedBefore;
    show(json, answer, () =>
      [
        `${operation} cost ${usd(costUsd)}.`,
        ...(again ? ['It was confirmed before: the audit keeps the reason of then, and this one is not noted.'] : []),
      ].join(' '),
    );
  });
  const release = of('release', 'gives it up: its call was surely not billed')
    .addOption(claimTokenOption())
    .addOption(
      reasonOption('as an operator, also of a call that another claimed: why, for the audit').conflicts('claimToken'),
    );
  example(
    release,
    `holds release acme ${someOperation}`,
    `holds release acme ${someOperation} --reason "the worker is gone"`,
  ).action(async (tenantId: string, operation: string, options: Json & { claimToken?: string; reason?: string }) => {
    const { claimToken, reason, json = false } = options;
    const answer =
      reason === undefined
        ? await client().release(operation, { tenantId, ...omitUndefined({ claimToken }) })
        : await client().budget.releaseHold(tenantId, operation, { reason, author: author() });
    show(json, answer, () => `${operation} is released.`);
  });
}
