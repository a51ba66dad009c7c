/** `npx spendlock approvals`: what agents ask of people, and the answers. */
import { Command, Option } from 'commander';
import { connect } from './api';
import { author, uuid } from './options';
import { show, table, type Column } from './output';

interface Approval {
  approvalId: string;
  runId: string;
  tool: string;
  kind: 'approval' | 'question';
  input: Record<string, unknown>;
  status: string;
  createdAt: string;
}

/** Enough of what is asked to tell one from another. */
const shownChars = 60;
const told = ({ kind, input }: Approval): string => {
  const text = kind === 'question' ? String(input.question) : JSON.stringify(input);
  return text.length <= shownChars ? text : `${text.slice(0, shownChars - 1)}…`;
};

const columns: Column<Approval>[] = [
  { name: 'approval', of: ({ approvalId }) => approvalId },
  { name: 'asks', of: ({ kind, tool }) => (kind === 'question' ? 'a question' : `to use ${tool}`) },
  { name: 'what', of: told },
  { name: 'run or conversation', of: ({ runId }) => runId },
  { name: 'since', of: ({ createdAt }) => createdAt },
];

export function approvalsCommands(): Command {
  const approvals = new Command('approvals').description('what people are asked before an agent goes on');
  approvals
    .command('list <tenant>')
    .description('what waits for an answer, the longest first')
    .action(async (tenantId: string, { json = false }: { json?: boolean }) => {
      const answer = await connect().get<{ approvals: Approval[] }>(
        `/v1/approvals?tenantId=${encodeURIComponent(tenantId)}`,
      );
      show(json, answer, () => table(columns, answer.approvals, 'Nobody is asked anything.'));
    });
  decision('approve', 'lets the tool be used');
  decision('refuse', 'keeps the tool from being used', new Option('--reason <words>', 'what the model is told'));
  decision('answer', 'answers a question', new Option('--text <words>', 'the answer').makeOptionMandatory());
  return approvals;

  function decision(verb: 'approve' | 'refuse' | 'answer', description: string, option?: Option): void {
    const command = approvals
      .command(verb)
      .argument('<tenant>')
      .argument('<approval>', 'its id', uuid)
      .description(description);
    if (option) command.addOption(option);
    command.action(
      async (
        tenantId: string,
        approvalId: string,
        { reason, text, json = false }: { reason?: string; text?: string; json?: boolean },
      ) => {
        const said = text ?? reason;
        const body = { tenantId, decision: verb, author: author(), ...(said === undefined ? {} : { answer: said }) };
        const answer = await connect().send<Approval>('POST', `/v1/approvals/${encodeURIComponent(approvalId)}`, body);
        show(json, answer, () => `${approvalId} is ${answer.status}.`);
      },
    );
  }
}
