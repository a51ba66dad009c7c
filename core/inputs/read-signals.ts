/**
 * Reads what signals and updates bring. Programs of the product send them, and so do people, by hand, from Temporal UI or its
 * CLI: whatever comes, a workflow has to go on, so nothing here throws, and what is wrong is said in words that quote nothing.
 */
import type { BudgetCommand } from '../budget/commands';
import { inOneSpelling, parseUuid } from '../ids';
import { parseAmountUsd } from '../money';

/** What a person decided, as it travels; without a decision it was recorded already. */
export interface ApprovalSignal {
  approvalId: string;
  decision?: 'approve' | 'refuse' | 'answer';
  answer?: string;
  decidedBy?: string;
}

/** What a person decided on a run that asks for money, as it travels. */
export interface MoneyAnswerSignal {
  requestId: string;
  decision: 'grant' | 'refuse';
  /** Decimal string; what was asked for when absent. */
  amountUsd?: string;
  /** When what is unused of it goes. */
  expiresAt?: string;
  reason?: string;
  decidedBy?: string;
}

/** Why something was not taken. */
export interface Unreadable {
  problem: string;
}

export const isUnreadable = (read: object): read is Unreadable => 'problem' in read;

const decisions = ['approve', 'refuse', 'answer'] as const;
/** As the API takes it. */
const answerCharsMax = 20_000;
const nameCharsMax = 200;

const fieldsOf = (given: unknown): Record<string, unknown> | undefined =>
  typeof given === 'object' && given !== null && !Array.isArray(given) ? (given as Record<string, unknown>) : undefined;

/** Absent, or text that Postgres can keep. */
const isText = (value: unknown, charsMax: number): value is string | undefined =>
  value == null || (typeof value === 'string' && value.length <= charsMax && !value.includes('\u0000'));

/** Reads the argument of `decideApproval`. */
export function readApprovalSignal(given: unknown): ApprovalSignal | Unreadable {
  const fields = fieldsOf(given);
  if (!fields) return { problem: 'it has to be an object with approvalId and decision' };
  const { decision, answer, decidedBy } = fields;
  const approvalId = parseUuid(fields.approvalId);
  if (approvalId === undefined) return { problem: 'approvalId has to be the id of what is asked, a UUID' };
  const decided = decisions.find((one) => one === decision);
  if (decision != null && decided === undefined)
    return { problem: `decision has to be one of ${decisions.join(', ')}` };
  if (!isText(answer, answerCharsMax))
    return { problem: `answer has to be text of at most ${answerCharsMax} characters` };
  if (!isText(decidedBy, nameCharsMax))
    return { problem: `decidedBy has to be a name of at most ${nameCharsMax} characters` };
  if (decided === 'answer' && !answer?.trim()) return { problem: 'answer has to be there to answer a question' };
  return {
    approvalId,
    ...(decided ? { decision: decided } : {}),
    ...(answer == null ? {} : { answer }),
    ...(decidedBy == null ? {} : { decidedBy }),
  };
}

/** Reads the argument of `answerMoney`. Whether its moment may be is for whoever carries it out. */
export function readMoneyAnswer(given: unknown): MoneyAnswerSignal | Unreadable {
  const fields = fieldsOf(given);
  if (!fields) return { problem: 'it has to be an object with requestId and decision' };
  const { decision, amountUsd, expiresAt, reason, decidedBy } = fields;
  const requestId = parseUuid(fields.requestId);
  if (requestId === undefined) return { problem: 'requestId has to be the id of what is asked for, a UUID' };
  if (decision !== 'grant' && decision !== 'refuse') return { problem: 'decision has to be grant or refuse' };
  if (amountUsd != null && !isAmount(amountUsd)) return { problem: 'amountUsd has to be such as "2.50", above 0' };
  if (expiresAt != null && !(isText(expiresAt, 40) && isMoment.test(expiresAt)))
    return { problem: 'expiresAt has to be a moment such as 2026-12-01T08:00:00Z' };
  if (!isText(reason, answerCharsMax))
    return { problem: `reason has to be text of at most ${answerCharsMax} characters` };
  if (!isText(decidedBy, nameCharsMax))
    return { problem: `decidedBy has to be a name of at most ${nameCharsMax} characters` };
  return {
    ...{ requestId, decision },
    ...(amountUsd == null ? {} : { amountUsd: amountUsd as string }),
    ...(expiresAt == null ? {} : { expiresAt: expiresAt }),
    ...(reason == null ? {} : { reason }),
    ...(decidedBy == null ? {} : { decidedBy }),
  };
}

const isMoment = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/;
const isAmount = (value: unknown): boolean => {
  if (typeof value !== 'string') return false;
  try {
    return parseAmountUsd(value) > 0n;
  } catch {
    return false;
  }
};

/** Reads the turn that is meant: none when nothing was given. */
export function readTurn(given: unknown): { turnId?: string } | Unreadable {
  if (given == null) return {};
  const turnId = fieldsOf(given)?.turnId;
  if (fieldsOf(given) && turnId == null) return {};
  return typeof turnId === 'string' && turnId.length <= nameCharsMax
    ? { turnId: inOneSpelling(turnId) }
    : { problem: 'it has to be an object with a turnId, or nothing' };
}

/** Commands that name an operation. `extend` is none any more; a history that has one replays as it was. */
const named = ['reserve', 'commit', 'release', 'extend'];

/** Where an answer goes, or nothing: the worker that decides hands it on as it is. */
function isReplyTo(value: unknown): boolean {
  if (value === undefined) return true;
  const { channel, waiter, workflowId, runId, activityId } = fieldsOf(value) ?? {};
  if (typeof channel === 'string') return typeof waiter === 'number';
  return [workflowId, runId, activityId].every((id) => typeof id === 'string');
}

function isCommand(one: unknown): one is BudgetCommand {
  const { type, operationId, replyTo } = fieldsOf(one) ?? {};
  if (type === 'reload') return true;
  if (typeof type !== 'string' || !named.includes(type)) return false;
  return parseUuid(operationId) !== undefined && isReplyTo(replyTo);
}

/**
 * Reads the commands of a signal to an authority. What is no command counts as a look at what Postgres holds, so that a history
 * in which one was passed on replays. What the other fields of a command hold is for the decision to judge.
 */
export function readCommands(given: unknown): { commands: BudgetCommand[]; notTaken: number } {
  if (!Array.isArray(given)) return { commands: [], notTaken: 1 };
  const commands = given.filter(isCommand);
  const notTaken = given.length - commands.length;
  return { commands: notTaken === 0 ? commands : [...commands, { type: 'reload' }], notTaken };
}
