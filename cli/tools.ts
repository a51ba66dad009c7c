/** `npx spendlock tools`: tools of a tenant's own are registered, listed, tried and removed. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { ToolView } from '../client';
import { httpMethods, ownToolKinds } from '../core/agent/own-tools';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import { readSchema } from './files';
import { author, example, positiveAmount, whole, words, type Json } from './options';
import { noneOf, show, table, usd, when, type Column } from './output';

const columns: Column<ToolView>[] = [
  { name: 'tool', of: ({ name }) => name },
  { name: 'kind', of: ({ kind }) => kind },
  { name: 'shows', of: ({ tools }) => String(tools.length), right: true },
  { name: 'a call', of: ({ priceUsd }) => (priceUsd === null ? 'free' : usd(priceUsd)), right: true },
  { name: 'asks first', of: ({ requiresApproval }) => (requiresApproval ? 'yes' : 'no') },
  { name: 'address', of: ({ url }) => url },
  { name: 'credential', of: ({ credentialHeader }) => credentialHeader ?? 'none', extra: true },
  { name: 'since (UTC)', of: ({ updatedAt }) => when(updatedAt), extra: true },
];

interface Options extends Json {
  tenant?: string;
}

interface AddOptions extends Options {
  url: string;
  kind: (typeof ownToolKinds)[number];
  method?: (typeof httpMethods)[number];
  description?: string;
  schema?: string;
  price?: string;
  approval?: boolean;
  timeout?: number;
  resultBytes?: number;
  credentialEnv?: string;
  credentialHeader?: string;
  replace?: boolean;
}

const tenantOption = (): Option => new Option('--tenant <id>', 'whose; that of a tenant’s key when absent');
const ofTenant = ({ tenant }: Options): { tenantId?: string } => omitUndefined({ tenantId: tenant });

export function toolsCommands(): Command {
  const tools = new Command('tools').description('tools of a tenant’s own, which its runs may call');
  addAdd(tools);
  const list = tools.command('list').description('what is registered, without credentials').addOption(tenantOption());
  example(list, 'tools list --tenant acme').action(async ({ json = false, ...options }: Options) => {
    const answer = await client().tools.list(ofTenant(options));
    show(json, answer, () => table(columns, answer.tools, noneOf('tools', options.tenant ?? 'this tenant')));
  });
  addTest(tools);
  const remove = tools
    .command('remove <name>')
    .description('takes it away, also from runs that have it')
    .addOption(tenantOption());
  example(remove, 'tools remove weather --tenant acme').action(
    async (name: string, { json = false, ...options }: Options) => {
      const answer = await client().tools.remove(name, { ...ofTenant(options), author: author() });
      show(json, answer, () => `${answer.name} is removed: it is called no more.`);
    },
  );
  return tools;
}

function addAdd(tools: Command): void {
  const add = tools
    .command('add <name>')
    .description('registers an address, or an MCP server with all that it lists')
    .addOption(tenantOption())
    .requiredOption('--url <address>', 'where it is called: https://, or a host of SPENDLOCK_TOOL_HOSTS')
    .addOption(new Option('--kind <kind>', 'one address, or an MCP server').choices(ownToolKinds).default('http'))
    .addOption(new Option('--method <method>', 'how the arguments are sent; POST when absent').choices(httpMethods))
    .option('--description <words>', 'what it is for, as the model reads it (http)', words)
    .option('--schema <file>', 'a JSON Schema of its arguments (http)')
    .option('--price <usd>', 'what each call costs; free when absent', positiveAmount)
    .option('--approval', 'a person is asked before each call')
    .option('--timeout <seconds>', 'how long a call may take; 30 when absent', whole(1, 120))
    .option('--result-bytes <bytes>', 'how much of its answer is read; 65536 when absent', whole(1, 1_000_000))
    .option('--credential-env <variable>', 'the environment variable with its credential, such as "Bearer …"')
    .option('--credential-header <name>', 'the header that it is sent in; authorization when absent')
    .option('--replace', 'in the place of one of the same name');
  example(
    add,
    'tools add weather --tenant acme --url https://weather.example.com/now --schema weather.json --description "The weather of a place"',
    'tools add github --tenant acme --kind mcp --url https://mcp.example.com/mcp --credential-env GITHUB_MCP_TOKEN',
  ).action(async (name: string, options: AddOptions) => {
    const { json = false, url, kind, method, description, price, approval, timeout, resultBytes, replace } = options;
    const credential = credentialOf(options);
    const answer = await client().tools.add({
      ...ofTenant(options),
      ...{ name, url, kind, author: author() },
      ...omitUndefined({ method, description, replace, credential }),
      ...omitUndefined({ inputSchema: options.schema === undefined ? undefined : await readSchema(options.schema) }),
      ...omitUndefined({ priceUsd: price, requiresApproval: approval }),
      ...omitUndefined({ timeoutSeconds: timeout, resultBytesMax: resultBytes }),
    });
    show(json, answer, () =>
      [
        `Registered ${answer.name}. Runs that begin from now on can have: ${answer.tools.join(', ')}.`,
        ...answer.leftOut.map((one) => `  not shown: ${one.name}: ${one.why}`),
        `  npx spendlock runs start ${options.tenant ?? 'TENANT'} --tool ${answer.name} --task "…"`,
      ].join('\n'),
    );
  });
}

/** Not as an argument: those of a process are shown to all of its machine. */
function credentialOf({ credentialEnv, credentialHeader }: AddOptions): { header?: string; value: string } | undefined {
  if (credentialEnv === undefined) {
    if (credentialHeader === undefined) return undefined;
    throw new InvalidArgumentError('--credential-header wants --credential-env beside it. Nothing was done.');
  }
  const value = process.env[credentialEnv];
  if (!value) throw new InvalidArgumentError(`The environment has no ${credentialEnv}. Nothing was done.`);
  return { value, ...omitUndefined({ header: credentialHeader }) };
}

const reachedWords = (name: string, status: number | null): string =>
  status === null
    ? `${name} is reached.`
    : `${name} is reached: it answers ${status} to OPTIONS. Nothing was called, and its credential was not sent: whether it takes both a call tells.`;

function addTest(tools: Command): void {
  const test = tools
    .command('test <name>')
    .description('whether it is reached, and what its server lists otherwise by now; nothing is called')
    .addOption(tenantOption());
  example(test, 'tools test github --tenant acme').action(
    async (name: string, { json = false, ...options }: Options) => {
      const answer = await client().tools.test(name, ofTenant(options));
      show(json, answer, () =>
        answer.reached
          ? [
              reachedWords(name, answer.status),
              ...answer.changes.map((change) => `  ${change}`),
              ...(answer.changes.length > 0 ? ['Register it anew with --replace to have runs see that.'] : []),
              ...answer.leftOut.map((one) => `  not shown: ${one.name}: ${one.why}`),
            ].join('\n')
          : `${name} is not reached. ${answer.problem}`,
      );
      if (!answer.reached) process.exitCode = 1;
    },
  );
}
