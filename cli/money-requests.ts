/** `npx spendlock budget requests`, `grant` and `refuse`: what denied runs ask people for, and the answers. */
import { Option, type Command } from 'commander';
import type { MoneyRequestView } from '../client';
import { answerInWords } from '../core/budget/money-requests';
import { counted } from '../core/counted';
import { parseUsd } from '../core/money';
import { omitUndefined } from '../core/omit-undefined';
import { client, everyPage } from './api';
import { author, example, expiresOption, positiveAmount, reasonOption, uuid, type Json } from './options';
import { noneOf, show, table, usd, when, type Column } from './output';

const columns: Column<MoneyRequestView>[] = [
  { name: 'request', of: ({ requestId }) => requestId },
  { name: 'asks for', of: ({ askedUsd }) => usd(askedUsd) },
  { name: 'for', of: ({ kind }) => kind },
  { name: 'of', of: ({ quota }) => `${quota.scope} ${quota.scopeId} · ${quota.resourceType} · ${quota.period}` },
  { name: 'done so far', of: doneSoFar },
  { name: 'before', of: ({ lastAnswer }) => (lastAnswer === null ? '–' : answerInWords(lastAnswer)), extra: true },
  { name: 'status', of: answered, extra: true },
  { name: 'waits until (UTC)', of: ({ waitsUntil }) => when(waitsUntil) },
  // An API of the version before does not say it.
  { name: 'who may answer', of: ({ mayAnswer = [] }: Partial<MoneyRequestView>) => mayAnswer.join(', '), extra: true },
  { name: 'run or workflow', of: ({ runId, workflowId }) => runId ?? workflowId, extra: true },
];

function doneSoFar({ steps, costUsd }: MoneyRequestView): string {
  return steps === null || costUsd === null ? '–' : `${counted(steps, 'paid step')}, ${usd(costUsd)}`;
}

/** What was answered, by whom and why; of one that waits, that it does. */
function answered({ status, grantedUsd, reason, decidedBy }: MoneyRequestView): string {
  return status === 'pending' ? status : answerInWords({ status, grantedUsd, reason, decidedBy });
}

const someRequest = '2f0c8a4e-0f5b-4a0e-8d7e-3b1a9c5d6e7f';

export function addMoneyRequests(budget: Command): void {
  const list = budget
    .command('requests <tenant>')
    .description('what denied runs ask people for, the longest waiting first')
    .addOption(new Option('--run <id>', 'all of this run or conversation, also what is answered').argParser(uuid));
  example(list, 'budget requests acme').action(
    async (tenantId: string, { run, json = false }: Json & { run?: string }) => {
      const answer = await everyPage('requests', (page) =>
        client().moneyRequests.list({ tenantId, ...page, ...omitUndefined({ runId: run }) }),
      );
      const none = noneOf(run === undefined ? 'requests for money pending' : 'requests for money', tenantId, { run });
      show(json, answer, () => table(columns, answer.requests, none));
    },
  );
  addGrant(budget);
  const refuse = answering(budget, 'refuse', 'ends what asks, as a denial does');
  example(refuse, `budget refuse acme ${someRequest} --reason "not worth it"`).action(
    async (tenantId: string, requestId: string, { reason, json = false }: Json & { reason?: string }) => {
      const answer = await client().moneyRequests.refuse(requestId, {
        ...{ tenantId, author: author() },
        ...omitUndefined({ reason }),
      });
      show(
        json,
        answer,
        () =>
          `${requestId} is refused. What asked ends as a denial does, unless money has come meanwhile; what it found is kept.`,
      );
    },
  );
}

const answering = (budget: Command, verb: string, description: string): Command =>
  budget
    .command(verb)
    .argument('<tenant>')
    .argument('<request>', 'its id', uuid)
    .description(description)
    .addOption(reasonOption());

function addGrant(budget: Command): void {
  const grant = answering(budget, 'grant', 'tops up the limits in the way, and wakes what asks')
    .addOption(new Option('--amount <usd>', 'US dollars; what is asked for when absent').argParser(positiveAmount))
    .addOption(expiresOption());
  example(
    grant,
    `budget grant acme ${someRequest}`,
    `budget grant acme ${someRequest} --amount 5 --expires 2027-01-08T18:00Z --reason "tonight's run"`,
  ).action(
    async (
      tenantId: string,
      requestId: string,
      { amount: amountUsd, expires: expiresAt, reason, json = false }: GrantOptions,
    ) => {
      const answer = await client().moneyRequests.grant(requestId, {
        ...{ tenantId, author: author() },
        ...omitUndefined({ amountUsd, expiresAt, reason }),
      });
      show(json, answer, () => grantedWords(answer));
    },
  );
}
interface GrantOptions extends Json {
  amount?: string;
  expires?: string;
  reason?: string;
}

/** What a grant came to, and whether it is enough for the next step. */
function grantedWords({ requestId, grantedUsd, lifted, lacksUsd, expiresAt }: MoneyRequestView): string {
  const granted = grantedUsd ?? '0';
  return [
    `${requestId} is granted ${usd(granted)}:`,
    ...(lifted ?? []).map(
      ({ amountUsd, resourceType, scope, scopeId, period }) =>
        `  the ${resourceType} quota of ${scope} ${scopeId} per ${period} is topped up by ${usd(amountUsd)} until ${expiresAt === null ? `the ${period} ends` : `${when(expiresAt)} UTC`}.`,
    ),
    ...(parseUsd(granted) < parseUsd(lacksUsd)
      ? [`That is less than the ${usd(lacksUsd)} that it lacked: unless more comes otherwise, it asks again.`]
      : []),
  ].join('\n');
}
