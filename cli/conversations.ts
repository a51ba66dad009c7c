/** `npx spendlock conversations`: what was talked about, and ending it. `npx spendlock chat` talks. */
import { Command } from 'commander';
import type { ConversationView, Transcript } from '../client';
import { client } from './api';
import { cursorOption, example, limitOption, moment, uuid, type Json, type Page } from './options';
import { moreLines, printable, show, table, usd, when, type Column } from './output';

const columns: Column<ConversationView>[] = [
  { name: 'conversation', of: ({ conversationId }) => conversationId },
  { name: 'user', of: ({ userId }) => userId ?? '–', extra: true },
  { name: 'status', of: ({ status }) => status },
  { name: 'cost', of: ({ costUsd }) => usd(costUsd), right: true },
  { name: 'begun (UTC)', of: ({ createdAt }) => when(createdAt) },
  { name: 'model', of: ({ model }) => model, extra: true },
];

/** One block of what was said: text as it is, all else by what it is. */
function blockWords(block: unknown): string {
  const { type = 'block', text, name, content } = block as Record<string, unknown>;
  if (type === 'text') return String(text);
  if (type === 'tool_use') return `[uses ${String(name)}]`;
  if (type === 'tool_result') return `[its result: ${typeof content === 'string' ? content : JSON.stringify(content)}]`;
  return `[${String(type)}]`;
}

const saidWords = ({ messages, nextCursor }: Transcript): string =>
  [...messages.map(({ role, content }) => `${role}: ${content.map(blockWords).join('\n')}`), ...moreLines(nextCursor)]
    .map((line) => printable(line, { lines: true }))
    .join('\n\n') || 'Nothing was said yet.';

interface ListOptions extends Json {
  user?: string;
  before?: string;
  limit: number;
}

const someConversation = '9b2d6c3a-1f4e-4d7a-8c5b-2e3f4a5b6c7d';

export function conversationsCommands(): Command {
  const conversations = new Command('conversations').description('what people and agents talk about');
  const list = conversations
    .command('list <tenant>')
    .description('the newest first')
    .option('--user <id>', 'of one user')
    .option('--before <moment>', 'begun before this', moment)
    .addOption(limitOption());
  example(list, 'conversations list acme --user ada').action(
    async (tenantId: string, { user, json = false, ...more }: ListOptions) => {
      const asked = { tenantId, ...more, ...(user === undefined ? {} : { userId: user }) };
      const answer = await client().conversations.list(asked);
      show(json, answer, () => table(columns, answer.conversations, 'There is no such conversation.'));
    },
  );
  const of = (verb: string, description: string): Command =>
    conversations
      .command(verb)
      .argument('<tenant>')
      .argument('<conversation>', 'its id', uuid)
      .description(description);
  example(of('show', 'how a conversation stands'), `conversations show acme ${someConversation}`).action(
    async (tenantId: string, id: string, { json = false }: Json) => {
      const answer = await client().conversations.get(id, { tenantId });
      show(json, answer, () => table(columns, [answer], ''));
    },
  );
  const said = of('messages', 'what was said in it, the oldest first')
    .addOption(cursorOption())
    .addOption(limitOption(200));
  example(said, `conversations messages acme ${someConversation}`).action(
    async (tenantId: string, id: string, { json = false, ...more }: Json & Page) => {
      const answer = await client().conversations.messages(id, { tenantId, ...more });
      show(json, answer, () => saidWords(answer));
    },
  );
  example(
    of('interrupt', 'stops what it does now; it stays open'),
    `conversations interrupt acme ${someConversation}`,
  ).action(async (tenantId: string, id: string, { json = false }: Json) => {
    const answer = await client().conversations.interrupt(id, { tenantId });
    show(json, answer, () => `${id} was asked to stop what it does.`);
  });
  example(
    of('close', 'ends it, after what it does now was stopped'),
    `conversations close acme ${someConversation}`,
  ).action(async (tenantId: string, id: string, { json = false }: Json) => {
    const answer = await client().conversations.close(id, { tenantId });
    show(json, answer, () => `${id} is closing.`);
  });
  return conversations;
}
