/** `npx spendlock budget mandates`: who takes a tenant's decisions, and the orders that leave all of them to its authority. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { MandateView } from '../client';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import { author, example, reasonOption, type Json } from './options';
import { show, usd, when } from './output';

interface Options extends Json {
  recall?: boolean;
  allow?: boolean;
  reason?: string;
}

export function addMandates(budget: Command): void {
  const command = budget
    .command('mandates <tenant>')
    .description("who takes a tenant's decisions: its authority alone, or who asks too, under its mandate")
    .addOption(
      new Option('--recall', 'have the authority take all of them, from the end of this command on').conflicts('allow'),
    )
    .option('--allow', 'end a recall')
    .addOption(reasonOption('of either: why, for the audit'))
    .addHelpText(
      'after',
      `
Nothing hangs on a mandate but speed: without one every decision takes the way through the authority. A recall is in the audit,
and stays until --allow. Freezes, limits and periods need none: they hold at the next decision, whoever takes it.`,
    );
  example(
    command,
    'budget mandates acme',
    'budget mandates acme --recall --reason "a look at the authority alone"',
    'budget mandates acme --allow',
  ).action(async (tenantId: string, { recall = false, allow = false, reason, json = false }: Options) => {
    const { budget: orders } = client();
    if (!recall && !allow) {
      if (reason !== undefined) throw new InvalidArgumentError('--reason says why for --recall or --allow.');
      const mandate = await orders.mandate(tenantId);
      return show(json, mandate, () => mandateWords(mandate));
    }
    const order = { ...omitUndefined({ reason }), author: author() };
    const answer = await (recall ? orders.recallMandate(tenantId, order) : orders.allowMandate(tenantId, order));
    show(json, answer, () => [orderWords(answer, { recall, reason }), mandateWords(answer)].join('\n'));
  });
}

/** What an order came to. */
function orderWords(
  { tenantId, wasRecalled }: MandateView & { wasRecalled: boolean },
  { recall, reason }: { recall: boolean; reason: string | undefined },
): string {
  if (recall)
    return wasRecalled
      ? `The mandate of ${tenantId} was recalled already${reason === undefined ? '' : '; the reason is now this one'}.`
      : `The mandate of ${tenantId} is recalled: nothing is decided directly any more.`;
  return wasRecalled
    ? `The recall of ${tenantId} is ended: its authority may open a mandate again.`
    : `The mandate of ${tenantId} was not recalled; nothing was changed.`;
}

/** How a mandate stands, as a person reads it. */
function mandateWords(mandate: MandateView): string {
  const { tenantId, openUntil, rules, granted, denied, grantedUsd, unseenSince, neededSince, notDirect } = mandate;
  const until = openUntil === null ? '' : ` until ${when(openUntil)} UTC, by the rules ${rules}`;
  return [
    notDirect.length === 0
      ? `${tenantId}: who asks decides directly${until}. The authority prolongs it while it is used.`
      : `${tenantId}: nothing is decided directly now.`,
    ...notDirect.map(({ message }) => `- ${message}`),
    `Decided directly so far: ${granted} granted (${usd(grantedUsd)}), ${denied} denied.`,
    unseenSince === null
      ? 'The authority has seen all of it.'
      : `The authority has not seen what was decided since ${seconds(unseenSince)}; it looks each minute.`,
    ...(neededSince === null ? [] : [`It was told at ${seconds(neededSince)} of something that it has to do.`]),
  ].join('\n');
}

const seconds = (moment: string): string => `${moment.slice(0, 19).replace('T', ' ')} UTC`;
