/** `npx spendlock budget freeze` and `unfreeze`: who may reserve nothing for now, the tenant or one of its users. */
import { type Command } from 'commander';
import type { TenantQuotas } from '../client';
import { unfreezeCommand } from '../core/budget/denials';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import { author, example, reasonNeeded, reasonOption, userOption, type Json } from './options';
import { show } from './output';

export const whom = (tenantId: string, user: string | undefined): string =>
  user === undefined ? tenantId : `user ${user} of ${tenantId}`;

interface Payer {
  tenantId: string;
  userId?: string | undefined;
}
/** Why a payer was frozen before an order; null when it was not. */
interface Before {
  reasonBefore: string | null;
}

/** What a freeze came to. */
export function frozenWords(payer: Payer, reason: string, { reasonBefore }: Before): string {
  const who = whom(payer.tenantId, payer.userId);
  const lifts = `To lift it: ${unfreezeCommand(payer)}`;
  if (reasonBefore === null) return `${who} is frozen: ${reason}. ${lifts}`;
  return reasonBefore === reason
    ? `${who} was frozen already, for the same reason. ${lifts}`
    : `${who} was frozen already (${reasonBefore}); the reason is now: ${reason}. ${lifts}`;
}

/** What an unfreeze came to, and who is frozen still: a payer may reserve when neither it nor its tenant is. */
export function unfrozenWords(
  { tenantId, userId }: Payer,
  { reasonBefore }: Before,
  { frozenReason, frozenUsers }: Pick<TenantQuotas, 'frozenReason' | 'frozenUsers'>,
): string {
  const who = whom(tenantId, userId);
  const isKept = userId !== undefined && frozenReason !== null;
  const lifted = isKept ? `${who} is not frozen itself any more.` : `${who} may reserve again.`;
  return [
    reasonBefore === null ? `${who} was not frozen; nothing was lifted.` : lifted,
    ...(isKept ? [`${tenantId} is frozen: ${frozenReason}. To lift it: ${unfreezeCommand({ tenantId })}`] : []),
    ...(userId === undefined ? frozenUsers : []).map(
      (one) =>
        `${whom(tenantId, one.userId)} is still frozen: ${one.reason}. To lift it: ${unfreezeCommand({ tenantId, ...one })}`,
    ),
  ].join('\n');
}

export function addFreezes(budget: Command): void {
  const freeze = budget
    .command('freeze <tenant>')
    .description('nothing more is reserved; what is reserved goes on')
    .addOption(userOption)
    .addOption(reasonNeeded());
  example(
    freeze,
    'budget freeze acme --reason "invoice overdue"',
    'budget freeze acme --user ada --reason "suspected leak"',
  ).action(async (tenantId: string, { user, reason, json = false }: Json & { user?: string; reason: string }) => {
    const order = { ...omitUndefined({ userId: user }), reason, author: author() };
    const answer = await client().budget.freeze(tenantId, order);
    show(json, answer, () => frozenWords({ tenantId, userId: user }, reason, answer));
  });
  const unfreeze = budget
    .command('unfreeze <tenant>')
    .description('reserving goes on')
    .addOption(userOption)
    .addOption(reasonOption());
  example(unfreeze, 'budget unfreeze acme', 'budget unfreeze acme --user ada').action(
    async (tenantId: string, { user, reason, json = false }: Json & { user?: string; reason?: string }) => {
      const order = { ...omitUndefined({ userId: user, reason }), author: author() };
      const answer = await client().budget.unfreeze(tenantId, order);
      if (json) return show(true, answer, () => '');
      const now = await client().tenants.quotas(tenantId, omitUndefined({ userId: user }));
      show(false, answer, () => unfrozenWords({ tenantId, userId: user }, answer, now));
    },
  );
}
