/** How a step asks for money in its own process: under its tenant's mandate, by signal, and here once more where nobody answers. */
import type { ReserveAnswer, ReserveCommand } from '../../core/budget/commands';
import type { Coalescer } from './coalescer';
import { heldUpMs, type DirectDecisions } from './direct-decisions';
import type { PendingReplies } from './pending-replies';

export interface AskedBy {
  /** Absent where only authorities decide. */
  direct?: DirectDecisions | undefined;
  coalescer: Coalescer;
  replies: PendingReplies;
}

/** A decision takes some milliseconds. Whoever has no answer by then asks in a way that can wait longer. */
export const quickReplyMs = 700;

/**
 * The answer to a reserve, where there is one soon: a second and a half at most where somebody who stands still holds its tenant. Undefined
 * says nothing: what was sent may still be decided, and is answered from the record to who asks again.
 */
export async function askQuickly(
  { direct, coalescer, replies }: AskedBy,
  tenantId: string,
  command: ReserveCommand,
): Promise<ReserveAnswer | undefined> {
  const decided = await direct?.decide(tenantId, command);
  if (decided?.answer) return decided.answer;
  const answer = replies.wait(tenantId, command, direct?.isHeldUp(tenantId) ? heldUpMs : quickReplyMs);
  // A signal that is refused is sent again by who asks again.
  coalescer.send(tenantId, command, answer).catch(() => undefined);
  return (await answer) ?? decideOverdue({ direct }, tenantId, command);
}

/** Under the tenant's mandate what its authority did not answer in time; undefined where that is for its authority alone. */
export const decideOverdue = async (
  { direct }: Pick<AskedBy, 'direct'>,
  tenantId: string,
  command: ReserveCommand,
): Promise<ReserveAnswer | undefined> => (await direct?.decide(tenantId, command, { isOverdue: true }))?.answer;
