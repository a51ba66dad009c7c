/** `npx spendlock approvals`: what agents ask of people, and the answers. */
import { Command, Option } from 'commander';
import type { Approval } from '../client';
import { omitUndefined } from '../core/omit-undefined';
import { client, everyPage } from './api';
import { CommandError } from './failures';
import { author, example, reasonOption, uuid, type Json } from './options';
import { noneOf, show, table, usd, when, type Column } from './output';
import { inputLines, inShort, questionOf } from './programs';

const columns: Column<Approval>[] = [
  { name: 'approval', of: ({ approvalId }) => approvalId },
  { name: 'asks', of: ({ kind, tool }) => (kind === 'question' ? 'a question' : `to use ${tool}`) },
  { name: 'what', of: ({ kind, input }) => inShort(kind === 'question' ? questionOf(input) : input) },
  { name: 'status', of: ({ status }) => status, extra: true },
  { name: 'since (UTC)', of: ({ createdAt }) => when(createdAt), extra: true },
  { name: 'run or conversation', of: ({ runId }) => runId, extra: true },
];

const someApproval = '2f0c8a4e-0f5b-4a0e-8d7e-3b1a9c5d6e7f';

/** All of what is asked: the tool, what it was given line by line, and how it stands. */
const words = (one: Approval, costUsd: string): string =>
  [
    `${one.approvalId}: ${one.kind === 'question' ? 'a question' : `asks to use ${one.tool}`}, ${one.status}`,
    `since ${when(one.createdAt)} UTC, by ${one.runId} at its step ${one.step}, which has cost ${usd(costUsd)} so far`,
    ...(one.kind === 'question' ? [`  ${questionOf(one.input)}`] : inputLines(one.input)),
    ...(one.decidedAt === null ? [] : [decidedWords(one)]),
    ...(one.answer === null ? [] : [`answer: ${one.answer}`]),
  ].join('\n');
const decidedWords = ({ status, decidedBy, decidedByKeyId, decidedByRole, decidedAt }: Approval): string =>
  `${status} at ${when(decidedAt)} UTC by ${decidedBy ?? 'nobody by name'}` +
  `${decidedByKeyId === null ? '' : `, with the key ${decidedByKeyId} (${decidedByRole})`}`;

/** @throws CommandError where none of them has this id. */
function found(approvals: readonly Approval[], id: string, isOfRun: boolean): Approval {
  const one = approvals.find(({ approvalId }) => approvalId === id);
  if (one) return one;
  throw new CommandError(
    isOfRun
      ? `${id} is none of what this run or conversation asked. \`npx spendlock approvals list\` has what waits.`
      : `${id} does not wait for an answer. One that was decided is found with --run ID, by its run or conversation.`,
    'not_found',
  );
}

export function approvalsCommands(): Command {
  const approvals = new Command('approvals').description('what people are asked before an agent goes on');
  const runOption = (): Option =>
    new Option('--run <id>', 'all of this run or conversation, also what is answered').argParser(uuid);
  const read = (tenantId: string, run: string | undefined) =>
    everyPage('approvals', (page) => client().approvals.list({ tenantId, ...page, ...omitUndefined({ runId: run }) }));
  const list = approvals
    .command('list <tenant>')
    .description('what waits for an answer, the longest first')
    .addOption(runOption());
  example(list, 'approvals list acme').action(
    async (tenantId: string, { run, json = false }: Json & { run?: string }) => {
      const answer = await read(tenantId, run);
      show(json, answer, () =>
        table(
          columns,
          answer.approvals,
          noneOf(run === undefined ? 'approvals pending' : 'approvals', tenantId, { run }),
        ),
      );
    },
  );
  const decide = (verb: string, description: string): Command =>
    approvals.command(verb).argument('<tenant>').argument('<approval>', 'its id', uuid).description(description);
  const one = decide('show', 'all of what is asked: the tool, and its program line by line').addOption(runOption());
  example(one, `approvals show acme ${someApproval}`, `approvals show acme ${someApproval} | less`).action(
    async (tenantId: string, id: string, { run, json = false }: Json & { run?: string }) => {
      const answer = found((await read(tenantId, run)).approvals, id, run !== undefined);
      if (json) return show(true, answer, () => '');
      const { costUsd } = await client().runs.get(answer.runId, tenantId);
      show(false, answer, () => words(answer, costUsd));
    },
  );
  const said = (json: boolean, answer: Approval): void =>
    show(json, answer, () => `${answer.approvalId} is ${answer.status}.`);
  example(decide('approve', 'lets the tool be used'), `approvals approve acme ${someApproval}`).action(
    async (tenantId: string, id: string, { json = false }: Json) =>
      said(json, await client().approvals.approve(id, { tenantId, author: author() })),
  );
  const refuse = decide('refuse', 'keeps the tool from being used').addOption(reasonOption('what the model is told'));
  example(refuse, `approvals refuse acme ${someApproval} --reason "not on this file"`).action(
    async (tenantId: string, id: string, { reason, json = false }: Json & { reason?: string }) =>
      said(
        json,
        await client().approvals.refuse(id, {
          tenantId,
          author: author(),
          ...(reason === undefined ? {} : { reason }),
        }),
      ),
  );
  const answer = decide('answer', 'answers a question').requiredOption('--text <words>', 'the answer');
  example(answer, `approvals answer acme ${someApproval} --text "the second one"`).action(
    async (tenantId: string, id: string, { text, json = false }: Json & { text: string }) =>
      said(json, await client().approvals.answer(id, text, { tenantId, author: author() })),
  );
  return approvals;
}
