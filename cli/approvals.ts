/** `npx spendlock approvals`: what agents ask of people, and the answers. */
import { Command, Option } from 'commander';
import type { Approval } from '../client';
import { client, everyPage } from './api';
import { author, example, uuid, type Json } from './options';
import { show, table, when, type Column } from './output';

/** Enough of what is asked to tell one from another. */
const shownChars = 60;
/** What is asked, in one line. */
const askedOf = ({ kind, input }: Pick<Approval, 'kind' | 'input'>): string => {
  const { question } = (input ?? {}) as { question?: unknown };
  return kind === 'question' ? String(question) : JSON.stringify(input);
};
const inShort = (text: string): string => (text.length <= shownChars ? text : `${text.slice(0, shownChars - 1)}…`);

const columns: Column<Approval>[] = [
  { name: 'approval', of: ({ approvalId }) => approvalId },
  { name: 'asks', of: ({ kind, tool }) => (kind === 'question' ? 'a question' : `to use ${tool}`) },
  { name: 'what', of: (approval) => inShort(askedOf(approval)) },
  { name: 'since (UTC)', of: ({ createdAt }) => when(createdAt), extra: true },
  { name: 'run or conversation', of: ({ runId }) => runId, extra: true },
];

const someApproval = '2f0c8a4e-0f5b-4a0e-8d7e-3b1a9c5d6e7f';

export function approvalsCommands(): Command {
  const approvals = new Command('approvals').description('what people are asked before an agent goes on');
  const list = approvals
    .command('list <tenant>')
    .description('what waits for an answer, the longest first')
    .addOption(new Option('--run <id>', 'all of this run or conversation, also what is answered').argParser(uuid));
  example(list, 'approvals list acme').action(
    async (tenantId: string, { run, json = false }: Json & { run?: string }) => {
      const answer = await everyPage('approvals', (page) =>
        client().approvals.list({ tenantId, ...page, ...(run === undefined ? {} : { runId: run }) }),
      );
      show(json, answer, () => table(columns, answer.approvals, 'Nobody is asked anything.'));
    },
  );
  const decide = (verb: string, description: string): Command =>
    approvals.command(verb).argument('<tenant>').argument('<approval>', 'its id', uuid).description(description);
  const said = (json: boolean, answer: Approval): void =>
    show(json, answer, () => `${answer.approvalId} is ${answer.status}.`);
  example(decide('approve', 'lets the tool be used'), `approvals approve acme ${someApproval}`).action(
    async (tenantId: string, id: string, { json = false }: Json) =>
      said(json, await client().approvals.approve(id, { tenantId, author: author() })),
  );
  const refuse = decide('refuse', 'keeps the tool from being used').option(
    '--reason <words>',
    'what the model is told',
  );
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
