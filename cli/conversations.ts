/** `npx spendlock conversations`: what was talked about, and ending it. `npx spendlock chat` talks. */
import { Command } from 'commander';
import type { ConversationView } from '../client';
import { stateOf } from '../client/states';
import { client } from './api';
import { writeAttached } from './files';
import { cursorOption, example, limitOption, moment, uuid, type Json, type Page } from './options';
import { noneOf, show, table, usd, when, type Column } from './output';
import { saidWords } from './transcripts';

const columns: Column<ConversationView>[] = [
  { name: 'conversation', of: ({ conversationId }) => conversationId },
  { name: 'title', of: ({ title }) => title ?? '–', extra: true },
  { name: 'user', of: ({ userId }) => userId ?? '–', extra: true },
  { name: 'status', of: stateOf },
  { name: 'cost', of: ({ costUsd }) => usd(costUsd), right: true },
  { name: 'saved by caches', of: ({ cacheSavedUsd }) => usd(cacheSavedUsd), right: true, extra: true },
  { name: 'begun (UTC)', of: ({ createdAt }) => when(createdAt) },
  { name: 'model', of: ({ model }) => model, extra: true },
];

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
    async (tenantId: string, { user, json = false, limit, ...filters }: ListOptions) => {
      const asked = { tenantId, limit, ...filters, ...(user === undefined ? {} : { userId: user }) };
      const answer = await client().conversations.list(asked);
      show(json, answer, () =>
        table(columns, answer.conversations, noneOf('conversations', tenantId, { user, ...filters })),
      );
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
  const file = of('file', 'writes the file that came with it')
    .argument('<file>', 'where to')
    .option('--force', 'in place of a file that is there already');
  example(file, `conversations file acme ${someConversation} sales.csv`).action(
    async (tenantId: string, id: string, name: string, options: Json & { force?: boolean }) =>
      writeAttached(name, () => client().conversations.file(id, tenantId), options),
  );
  const entitle = of('title', 'gives it a title to be listed by').argument('<title>', 'in words');
  example(entitle, `conversations title acme ${someConversation} "Sales in March"`).action(
    async (tenantId: string, id: string, title: string, { json = false }: Json) => {
      const answer = await client().conversations.setTitle(id, { title, tenantId });
      show(json, answer, () => `${id} is called "${title}".`);
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
