/** `npx spendlock keys`: API keys are made, listed, rotated and revoked. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { KeyView } from '../client';
import type { Labels } from '../core/labels';
import { omitUndefined } from '../core/omit-undefined';
import { tenantRoles } from '../core/roles';
import { client, everyPage } from './api';
import { tellingOfEnd } from './cut-off';
import { CommandError } from './failures';
import { author, example, labelOption, uuid, whole, type Json } from './options';
import { labelWords, noneOf, show, table, when, type Column } from './output';

const columns: Column<KeyView>[] = [
  { name: 'key', of: ({ apiKeyId }) => apiKeyId },
  { name: 'role', of: ({ role }) => role },
  { name: 'label', of: ({ label }) => label },
  { name: 'labels', of: ({ labels }) => labelWords(labels), extra: true },
  { name: 'made (UTC)', of: ({ createdAt }) => when(createdAt), extra: true },
  { name: 'until (UTC)', of: ({ revokedAt }) => when(revokedAt) },
];

const tenantOption = (): Option => new Option('--tenant <id>', 'of a tenant; of the administration when absent');

/** @throws Error when there is one already: whoever has it makes more. */
async function makeFirstKey(): Promise<{ apiKeyId: string; apiKey: string }> {
  const { withDatabase } = await import('./database.js');
  const { addFirstKey, newKey } = await import('../store/api-keys.js');
  const key = newKey();
  let isAsked = false;
  const order = { key, label: 'the first', by: { author: author() }, onBegin: () => void (isAsked = true) };
  const soFar = (): string =>
    isAsked ? `The key may have been made. Then it is this one, shown only now:\n${key}` : 'Nothing was done.';
  const { apiKeyId, isNew } = await tellingOfEnd(soFar, () =>
    withDatabase(process.env, { soFar }, (pool) => addFirstKey(pool, order)),
  );
  if (!isNew)
    throw new CommandError(
      `The administration has a key already (${apiKeyId}). Make more with it: \`npx spendlock keys create --admin\`. Nothing was done.`,
    );
  return { apiKeyId, apiKey: key };
}

interface Options extends Json {
  tenant?: string;
}
interface NewKeyOptions {
  admin?: boolean;
  role: (typeof tenantRoles)[number];
  label?: string;
  costLabel?: Labels;
}

const someKey = '4a1f0c2e-7b6d-4c3a-9e8f-1d2c3b4a5f6e';

const ofTenant = ({ tenant }: Options): { tenantId?: string } => omitUndefined({ tenantId: tenant });

export function keysCommands(): Command {
  const keys = new Command('keys').description('who may speak to the API');
  addLooks(keys);
  addCreate(keys);
  const first = keys
    .command('first')
    .description('makes the first key of the administration, past the API; it needs DATABASE_URL, as workers have it');
  example(first, 'keys first   # with DATABASE_URL=postgres://…').action(async ({ json = false }: Json) => {
    const made = await makeFirstKey();
    show(json, made, () => `Made ${made.apiKeyId}. The key, shown only now:\n${made.apiKey}`);
  });
  addEnds(keys);
  return keys;
}

function addLooks(keys: Command): void {
  const list = keys
    .command('list')
    .description('the newest first; a key itself is kept nowhere')
    .addOption(tenantOption());
  example(list, 'keys list --tenant acme').action(async ({ json = false, ...options }: Options) => {
    const answer = await everyPage('keys', (page) => client().keys.list({ ...ofTenant(options), ...page }));
    show(json, answer, () => table(columns, answer.keys, noneOf('keys', options.tenant ?? 'the administration')));
  });
  const current = keys.command('current').description('the key that you use: whose it is, and its role');
  example(current, 'keys current').action(async ({ json = false }: Json) => {
    const answer = await client().keys.current();
    show(json, answer, () => `${answer.role} of ${answer.tenantId ?? 'the administration'}`);
  });
}

function addCreate(keys: Command): void {
  const create = keys
    .command('create')
    .description('makes a key, which is shown once')
    .option('--tenant <id>', 'a key of this tenant')
    .option('--admin', 'a key of the administration, which may do everything to every tenant')
    .addOption(
      new Option('--role <role>', 'of a key of a tenant: what it may do')
        .choices(tenantRoles)
        .default('agent', '"agent", which starts runs, talks and reserves')
        .conflicts('admin'),
    )
    .option('--label <words>', 'what it is for')
    .addOption(labelOption('of all that is started and reserved with it', '--cost-label'))
    .addHelpText(
      'after',
      `
An operator decides on limits, money and approvals and starts nothing; an agent starts runs, talks and reserves, and approves nothing; a reader reads.`,
    );
  example(
    create,
    'keys create --tenant acme --label "the backend"',
    'keys create --tenant acme --label "search in production" --cost-label team=search',
    'keys create --tenant acme --role operator --label "Ada, finance"',
  ).action(
    async ({ json = false, label = '', costLabel, admin = false, role, ...options }: Options & NewKeyOptions) => {
      if (admin === (options.tenant !== undefined))
        throw new InvalidArgumentError(
          'Say --tenant ID for a key of a tenant, or --admin for one of the administration.',
        );
      const order = {
        ...ofTenant(options),
        ...{ role: admin ? ('administration' as const) : role, label, author: author() },
        ...omitUndefined({ labels: costLabel }),
      };
      const answer = await client().keys.create(order);
      show(
        json,
        answer,
        () => `Made ${answer.apiKeyId} of the role ${answer.role}. The key, shown only now:\n${answer.apiKey}`,
      );
    },
  );
}

function addEnds(keys: Command): void {
  const rotate = keys
    .command('rotate')
    .argument('<key>', 'its id', uuid)
    .description('makes a new key in place of one, which is taken for a while longer')
    .addOption(tenantOption())
    .addOption(
      new Option('--grace <seconds>', 'how long the old one is taken')
        .argParser(whole(0, 2_592_000, 'seconds'))
        .default(3_600),
    );
  example(rotate, `keys rotate ${someKey} --tenant acme --grace 86400`).action(
    async (key: string, { json = false, grace, ...options }: Options & { grace: number }) => {
      const order = { ...ofTenant(options), graceSeconds: grace, author: author() };
      const answer = await client().keys.rotate(key, order);
      const until = answer.old.revokedAt ?? 'now';
      show(
        json,
        answer,
        () => `Made ${answer.apiKeyId}; ${key} is refused from ${until} on. The key, shown only now:\n${answer.apiKey}`,
      );
    },
  );
  const revoke = keys
    .command('revoke')
    .argument('<key>', 'its id', uuid)
    .description('refuses a key from now on')
    .addOption(tenantOption())
    .option('--yes', 'also the last key of the administration');
  example(revoke, `keys revoke ${someKey} --tenant acme`).action(
    async (key: string, { json = false, yes = false, ...options }: Options & { yes?: boolean }) => {
      const order = { ...ofTenant(options), ...(yes ? { confirm: key } : {}), author: author() };
      const answer = await client().keys.revoke(key, order);
      show(json, answer, () => `${key} is refused.`);
    },
  );
}
