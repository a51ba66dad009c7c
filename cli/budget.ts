/** `npx spendlock budget`: a tenant’s quotas, what would fit them, and the orders that change them. */
import { Command, Option } from 'commander';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import { addCheck } from './checks';
import { addCorrections } from './corrections';
import { policyCommands, userDefaultsCommands } from './defaults';
import { addLimits } from './limits';
import {
  author,
  example,
  periodOption,
  positiveAmount,
  reasonOption,
  resourceOption,
  scopeOf,
  userOption,
  type Json,
  type QuotaOptions,
} from './options';
import { show, usd } from './output';
import { repairCommand } from './repair';

export function budgetCommands(): Command {
  const budget = new Command('budget').description('limits, top-ups, freezes and corrections');
  addLimits(budget);
  addCheck(budget);
  addTopUp(budget);
  addFreezes(budget);
  budget.addCommand(userDefaultsCommands());
  budget.addCommand(policyCommands());
  addCorrections(budget);
  budget.addCommand(repairCommand());
  return budget;
}

function addTopUp(budget: Command): void {
  const command = budget
    .command('topup')
    .argument('<tenant>')
    .argument('<usd>', 'US dollars, more than 0', positiveAmount)
    .description('lifts a limit once, until its period ends')
    .addOption(resourceOption)
    .addOption(periodOption)
    .addOption(userOption)
    .addOption(reasonOption());
  example(command, 'budget topup acme 25 --reason "launch week"').action(
    async (tenantId: string, amountUsd: string, options: QuotaOptions & Json & { reason: string }) => {
      const { resource: resourceType, period, reason, json = false } = options;
      const order = { ...scopeOf(options), resourceType, period, amountUsd, reason, author: author() };
      const answer = await client().budget.topUp(tenantId, order);
      show(
        json,
        answer,
        () =>
          `The ${resourceType} quota of ${whom(tenantId, options.user)} is topped up by ${usd(amountUsd)} until the ${period} ends.`,
      );
    },
  );
}

const whom = (tenantId: string, user: string | undefined): string =>
  user === undefined ? tenantId : `user ${user} of ${tenantId}`;

function addFreezes(budget: Command): void {
  const freeze = budget
    .command('freeze <tenant>')
    .description('nothing more is reserved; what is reserved goes on')
    .addOption(userOption)
    .addOption(reasonOption());
  example(freeze, 'budget freeze acme --reason "invoice overdue"').action(
    async (tenantId: string, { user, reason, json = false }: Json & { user?: string; reason: string }) => {
      const order = { ...omitUndefined({ userId: user }), reason, author: author() };
      const answer = await client().budget.freeze(tenantId, order);
      show(json, answer, () => `${whom(tenantId, user)} is frozen.`);
    },
  );
  const unfreeze = budget
    .command('unfreeze <tenant>')
    .description('reserving goes on')
    .addOption(userOption)
    .addOption(new Option('--reason <words>', 'why, for the audit'));
  example(unfreeze, 'budget unfreeze acme').action(
    async (tenantId: string, { user, reason, json = false }: Json & { user?: string; reason?: string }) => {
      const order = { ...omitUndefined({ userId: user, reason }), author: author() };
      const answer = await client().budget.unfreeze(tenantId, order);
      show(json, answer, () => `${whom(tenantId, user)} may reserve again.`);
    },
  );
}
