/** `npx spendlock budget check`: whether a call would be granted now. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Labels } from '../core/labels';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import { quotaTable } from './limits';
import { amount, callOption, example, labelOption, uuid, whole, type Json } from './options';
import { show, usd } from './output';

interface CheckOptions extends Json {
  resource: string;
  user?: string;
  run?: string;
  label?: Labels;
  amount?: string;
  model?: string;
  inputTokens?: number;
  maxOutputTokens?: number;
  tier?: string;
  seconds?: number;
}

const tokens = whole(0, 100_000_000, 'tokens');

export function addCheck(budget: Command): void {
  const check = budget
    .command('check <tenant>')
    .description('whether a call would be granted now; nothing is reserved')
    .addOption(callOption())
    .option('--user <id>', 'on whose account, beside the tenant')
    .addOption(new Option('--run <id>', 'the run, conversation or workflow that it belongs to').argParser(uuid))
    .addOption(labelOption('what it is for'))
    .option('--amount <usd>', 'what it may cost at most', amount)
    .addOption(new Option('--model <name>', 'or: the model that is called').conflicts('amount'))
    .option('--input-tokens <n>', 'with it: of the prompt', tokens)
    .option('--max-output-tokens <n>', 'with it: of the answer, at most', tokens)
    .addOption(new Option('--tier <name>', 'or, of e2b: the tier of a sandbox').conflicts(['amount', 'model']))
    .option('--seconds <n>', 'how long it runs', whole(1, 86_400, 'seconds'))
    .addHelpText(
      'after',
      '\nExit statuses: 0 there is money for it, 3 there is not; 1 where a limit of its run stands in the way.',
    );
  example(
    check,
    'budget check acme --amount 0.25',
    'budget check acme --amount 0.25 --run 2f0c8a4e-0f5b-4a0e-8d7e-3b1a9c5d6e7f',
    'budget check acme --model claude-haiku-4-5 --input-tokens 12000 --max-output-tokens 2000',
    'budget check acme --resource e2b --tier standard --seconds 300',
  ).action(async (tenantId: string, options: CheckOptions) => {
    const { resource, user, run, label, amount, json = false } = options;
    const answer = await client().checkQuota({
      tenantId,
      resource,
      ...omitUndefined({
        userId: user,
        runId: run,
        labels: label,
        // By its former name, which an API of the version before knows too.
        estimatedUsd: amount,
        call: callOf(options),
        sandbox: sandboxOf(options),
      }),
    });
    const cost = answer.estimatedCostUsd === null ? '' : ` It costs ${usd(answer.estimatedCostUsd)} at most.`;
    show(json, answer, () => `There is money for it now.${cost}\n${quotaTable(answer.quotas)}`);
  });
}

function callOf({ resource, model, inputTokens, maxOutputTokens }: CheckOptions) {
  if (model === undefined && inputTokens === undefined && maxOutputTokens === undefined) return undefined;
  if (resource !== 'llm' || model === undefined || inputTokens === undefined || maxOutputTokens === undefined)
    throw new InvalidArgumentError('A call is said by --model, --input-tokens and --max-output-tokens, all three.');
  return { model, inputTokens, maxOutputTokens };
}

function sandboxOf({ resource, tier, seconds }: CheckOptions) {
  if (tier === undefined && seconds === undefined) return undefined;
  if (resource !== 'e2b') throw new InvalidArgumentError('--tier and --seconds are of a sandbox: say --resource e2b.');
  return omitUndefined({ tier, seconds });
}
