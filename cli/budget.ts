/** `npx spendlock budget`: a tenant’s quotas, what would fit them, and the orders that change them. */
import { Command } from 'commander';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import { addCheck } from './checks';
import { addCorrections } from './corrections';
import { policyCommands, userDefaultsCommands } from './defaults';
import { labelDefaultsCommands } from './label-defaults';
import { addFreezes, whom } from './freezes';
import { addLimits } from './limits';
import { addMandates } from './mandates';
import { addMoneyRequests } from './money-requests';
import {
  author,
  example,
  expiresOption,
  periodOption,
  positiveAmount,
  reasonNeeded,
  resourceOption,
  labelTerms,
  ofLabelOption,
  scopeOf,
  userOption,
  type Json,
  type QuotaOptions,
} from './options';
import { show, usd, when } from './output';
import { repairCommand } from './repair';

export function budgetCommands(): Command {
  const budget = new Command('budget').description(
    'limits, top-ups, requests for money, freezes, corrections and mandates',
  );
  addLimits(budget);
  addCheck(budget);
  addTopUp(budget);
  addMoneyRequests(budget);
  addFreezes(budget);
  budget.addCommand(userDefaultsCommands());
  budget.addCommand(labelDefaultsCommands());
  budget.addCommand(policyCommands());
  addCorrections(budget);
  addMandates(budget);
  budget.addCommand(repairCommand());
  return budget;
}

function addTopUp(budget: Command): void {
  const command = budget
    .command('topup')
    .argument('<tenant>')
    .argument('<usd>', 'US dollars, more than 0', positiveAmount)
    .description('lifts a limit once, until its period ends or a moment')
    .addOption(expiresOption())
    .addOption(resourceOption)
    .addOption(periodOption)
    .addOption(userOption)
    .addOption(ofLabelOption())
    .addOption(reasonNeeded());
  example(
    command,
    'budget topup acme 25 --reason "launch week"',
    'budget topup acme 25 --expires 2027-01-08T18:00Z --reason "launch week"',
    'budget topup acme 5 --expires 2h --reason "tonight\'s run"',
  ).action(
    async (
      tenantId: string,
      amountUsd: string,
      options: QuotaOptions & Json & { reason: string; expires?: string },
    ) => {
      const { resource: resourceType, period, reason, label, expires: expiresAt, json = false } = options;
      const order = {
        ...scopeOf(options),
        ...{ resourceType, period, amountUsd, reason, author: author() },
        ...omitUndefined({ expiresAt }),
      };
      const answer = await client().budget.topUp(tenantId, order);
      show(
        json,
        answer,
        () =>
          `The ${resourceType} quota of ${label === undefined ? whom(tenantId, options.user) : `${labelTerms(label).join()} of ${tenantId}`} is topped up by ${usd(amountUsd)} until ${expiresAt === undefined ? `the ${period} ends` : `${when(expiresAt)} UTC`}.`,
      );
    },
  );
}
