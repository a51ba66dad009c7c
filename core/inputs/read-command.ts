/**
 * Commands as they come: a signal can be sent by anybody who reaches the server, and histories hold what older versions sent. What
 * is no command is told from what is one before anything is looked up, so that it never costs others their decision.
 */
import type { BudgetCommand, ReserveCommand, RunLimitRef } from '../budget/commands';
import { ttlSecondsMax } from '../budget/expiry';
import { inOneSpelling, parseUuid, userIdCharsMax } from '../ids';
import { problemOfLabels } from '../labels';
import { allResources, isResource } from '../resources';
import { unstorableIn } from '../storable';
import { omitUndefined } from '../omit-undefined';
import { isRecord } from '../prices/usage';

/** A command that can be decided, with its ids in their one spelling; or what is wrong with it. */
export type ReadCommand = { command: BudgetCommand } | { problem: string; reserve?: ReserveCommand };

type Check = (value: unknown) => boolean;

/** Text that Postgres can keep. */
const isText: Check = (value) => typeof value === 'string' && unstorableIn(value) === 0;
const isUserId: Check = (value) => isText(value) && (value as string).length <= userIdCharsMax;
const isInteger: Check = (value) => Number.isInteger(value) && Math.abs(value as number) < 2 ** 31;
const isId: Check = (value) => parseUuid(value) !== undefined;
const isOneOf =
  (...values: readonly string[]): Check =>
  (value) =>
    values.includes(value as string);
const isTexts: Check = (value) => isRecord(value) && Object.entries(value).flat().every(isText);
const isReplyAddress: Check = (value) =>
  isRecord(value) &&
  ('channel' in value
    ? isText(value.channel) && typeof value.waiter === 'number'
    : [value.workflowId, value.runId, value.activityId].every(isText));

const areLabels: Check = (value) => problemOfLabels(value) === undefined;
const isRunLimit: Check = (value) =>
  isRecord(value) && isId(value.id) && optional(isText)(value.limitUsd) && optional(isId)(value.parentId);

const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || value === null || check(value);

/** What the fields of a reserve hold. Amounts and times that make no sense are answered by the decision. */
const reserveFields: Record<Exclude<keyof ReserveCommand, 'type'>, Check> = {
  operationId: isId,
  userId: optional(isUserId),
  resource: (value) => isResource(value) || value === allResources,
  ofResource: optional(isResource),
  envelopeOf: optional((value) => Array.isArray(value) && value.length > 0 && value.every(isResource)),
  parentOperationId: optional(isId),
  parentTtlSeconds: optional((value) => typeof value === 'number' && value > 0 && value <= ttlSecondsMax),
  orBeyond: optional((value) => typeof value === 'boolean'),
  isTool: optional((value) => typeof value === 'boolean'),
  amountUsd: isText,
  minimumUsd: optional(isText),
  prefersWhole: optional((value) => typeof value === 'boolean'),
  waiterId: optional(isId),
  priceVersion: isText,
  ttlSeconds: (value) => typeof value === 'number',
  onExpiry: optional(isOneOf('release', 'settle')),
  runId: optional(isId),
  kind: isText,
  step: optional(isInteger),
  attempt: optional(isInteger),
  model: optional(isText),
  replyTo: optional(isReplyAddress),
  traceContext: optional(isTexts),
  asker: optional(isText),
  runLimit: optional(isRunLimit),
  labels: optional(areLabels),
  sentLabels: optional(areLabels),
};

/** Reads what came as a command. */
export function readCommand(value: unknown): ReadCommand {
  if (!isRecord(value)) return { problem: 'it is no object' };
  switch (value.type) {
    case 'reload':
    // A command once, which a history or a sender of the version before may hold. A hold is prolonged in its row.
    case 'extend':
      return { command: { type: 'reload' } };
    case 'reserve': {
      const isNamedApart = value.resource !== allResources || isResource(value.ofResource);
      const wrong = isNamedApart
        ? Object.entries(reserveFields).find(([field, check]) => !check(value[field]))?.[0]
        : 'resource';
      const reserve = value as unknown as ReserveCommand;
      if (wrong === undefined) return { command: spelled(withoutNulls(reserve)) };
      // Who waits for an answer is told, where it can be told who that is.
      const isAnswerable = isText(value.operationId) && isReplyAddress(value.replyTo);
      return { problem: `its ${wrong} cannot be used`, ...(isAnswerable ? { reserve } : {}) };
    }
    case 'commit':
    case 'release':
      if (!isId(value.operationId)) return { problem: 'its operationId is no UUID' };
      return { command: spelled(value as unknown as BudgetCommand) };
    default:
      return { problem: 'its type is none' };
  }
}

const withoutNulls = (command: ReserveCommand): ReserveCommand =>
  Object.fromEntries(Object.entries(command).filter(([, value]) => value !== null)) as unknown as ReserveCommand;

/** The same command with its ids in their one spelling: two that name one row are then about one operation. */
export function spelled<C extends BudgetCommand>(command: C): C {
  if (!('operationId' in command)) return command;
  const other = (['runId', 'waiterId', 'parentOperationId'] as const).flatMap((field): [string, string][] => {
    const id = (command as Partial<ReserveCommand>)[field];
    return id === undefined ? [] : [[field, inOneSpelling(id)]];
  });
  const { runLimit } = command as Partial<ReserveCommand>;
  return {
    ...command,
    operationId: inOneSpelling(command.operationId),
    ...Object.fromEntries(other),
    ...(runLimit && { runLimit: spelledLimit(runLimit) }),
  };
}

const spelledLimit = ({ id, limitUsd, parentId }: RunLimitRef): RunLimitRef => ({
  id: inOneSpelling(id),
  ...omitUndefined({
    // Who sends them may send null.
    limitUsd: limitUsd ?? undefined,
    parentId: parentId ? inOneSpelling(parentId) : undefined,
  }),
});
