/**
 * Reads what workflows are started with. The product starts them; so can anybody who reaches the server, by hand. What cannot be
 * meant is said in words before anything is done with it: a workflow that stumbles over its input would fail its tasks for good.
 * Fields that nobody knows are left alone: another version may send them.
 */
import { askDaysMax } from '../budget/money-requests';
import { parseUuid, tenantIdPattern, userIdCharsMax } from '../ids';
import { problemOfLabels } from '../labels';
import { parseAmountUsd } from '../money';
import { isResource } from '../resources';
import { unstorableIn } from '../storable';
import { isRecord } from '../prices/usage';

type Fields = Readonly<Record<string, unknown>>;
/** Whether a field may hold a value; what it has to be is said where it may not. */
type Check = (value: unknown) => boolean;
interface Field {
  is: Check;
  what: string;
}

const isText: Check = (value) => typeof value === 'string' && value !== '' && unstorableIn(value) === 0;
const isAmount: Check = (value) => {
  try {
    return typeof value === 'string' && parseAmountUsd(value) >= 0n;
  } catch {
    return false;
  }
};
/** Beyond these no timer and no column goes. */
const secondsMax = 100 * 366 * 86_400;
const countMax = 2 ** 31 - 1;
const isNumberUpTo =
  (max: number): Check =>
  (value) =>
    typeof value === 'number' && value > 0 && value <= max;
const isCount: Check = (value) => Number.isInteger(value) && isNumberUpTo(countMax)(value);
const isStep: Check = (value) => value === 0 || isCount(value);
const allOf =
  (fields: Readonly<Record<string, Field>>): Check =>
  (value) =>
    isRecord(value) && problemIn(value, fields) === undefined;

const text: Field = { is: isText, what: 'a text' };
const uuid: Field = { is: (value) => parseUuid(value) !== undefined, what: 'a UUID' };
const amount: Field = { is: isAmount, what: 'an amount in USD, as a text' };
const count: Field = { is: isCount, what: 'a whole number above 0' };
const seconds: Field = { is: isNumberUpTo(secondsMax), what: 'a number of seconds above 0' };
const milliseconds: Field = { is: isNumberUpTo(secondsMax * 1_000), what: 'a number of milliseconds above 0' };
const yes: Field = { is: (value) => typeof value === 'boolean', what: 'true or false' };
const tenant: Field = {
  is: (value) => typeof value === 'string' && tenantIdPattern.test(value),
  what: 'the id of a tenant',
};
const oneOf = (...values: string[]): Field => ({
  is: (value) => values.includes(value as string),
  what: values.join(' or '),
});
const optional = ({ is, what }: Field): Field => ({ is: (value) => value === undefined || is(value), what });

const toolRule = allOf({ requiresApproval: optional(yes), priceUsd: optional(amount) });

const runFields: Record<string, Field> = {
  runId: uuid,
  tenantId: tenant,
  userId: optional({
    is: (value) => isText(value) && (value as string).length <= userIdCharsMax,
    what: 'a short text',
  }),
  labels: optional({
    is: (value) => problemOfLabels(value) === undefined,
    what: 'an object of at most eight labels',
  }),
  model: text,
  fallbackModels: optional({ is: (value) => Array.isArray(value) && value.every(isText), what: 'a list of models' }),
  maxOutputTokens: count,
  maxSteps: count,
  maxCostUsd: optional(amount),
  guaranteedUsd: optional(amount),
  guaranteedOn: optional({
    is: (value) => Array.isArray(value) && value.includes('llm') && value.every(isResource),
    what: 'a list of resources, llm among them',
  }),
  lastCall: optional(yes),
  answersFit: optional(yes),
  parentRunId: optional(uuid),
  unavailable: optional({
    is: allOf({ then: oneOf('deny', 'allow'), afterMs: milliseconds }),
    what: 'an object with then (deny or allow) and afterMs',
  }),
  onDenied: optional(oneOf('wait', 'fail')),
  askDays: optional({
    is: (value) => typeof value === 'number' && value > 0 && value <= askDaysMax,
    what: `a number of days above 0, at most ${askDaysMax}`,
  }),
  waitForHoldsSeconds: optional({
    is: (value) => typeof value === 'number' && value >= 0 && value <= 60,
    what: 'a number of seconds, at most 60',
  }),
  compact: optional(yes),
  tools: optional({
    is: (value) => isRecord(value) && Object.values(value).every((rule) => rule === undefined || toolRule(rule)),
    what: 'an object of rules with requiresApproval (true or false) and priceUsd, by name of the tool',
  }),
  hasOwnTools: optional(yes),
  timeoutSeconds: seconds,
  sandboxTier: text,
  sandboxWindowSeconds: seconds,
  executionSeconds: optional(seconds),
  sandboxIdle: optional({
    is: allOf({ pauseSeconds: seconds, killSeconds: seconds }),
    what: 'an object with pauseSeconds and killSeconds',
  }),
};

const carriedSandbox = allOf({
  state: oneOf('open', 'paused'),
  sandbox: {
    is: allOf({
      sandboxId: text,
      operationId: text,
      startedAtMs: milliseconds,
      windowSeconds: seconds,
      windowStartedAtMs: optional(milliseconds),
    }),
    what: '',
  },
  plan: { is: isRecord, what: '' },
});
const carriedTurn = allOf({ turnId: text, firstStep: count, leftMs: milliseconds, spentUsd: amount });

const conversationFields: Record<string, Field> = {
  ...runFields,
  carried: optional({
    is: allOf({
      step: { is: isStep, what: '' },
      turn: optional({ is: carriedTurn, what: '' }),
      sandbox: optional({ is: carriedSandbox, what: '' }),
    }),
    what: 'what an execution before handed on: left out by whoever starts one',
  }),
};

const quotaTexts = [
  'scope',
  'scopeId',
  'resourceType',
  'period',
  'remainingUsd',
  'spentUsd',
  'reservedUsd',
  'limitUsd',
];
const quotaShown = allOf(Object.fromEntries([...quotaTexts, 'resetsAt'].map((name) => [name, text])));
const budgetFields: Record<string, Field> = {
  tenantId: tenant,
  carried: optional({ is: Array.isArray, what: 'a list of commands' }),
  last: optional({
    is: allOf({
      quotas: { is: (value) => Array.isArray(value) && value.every(quotaShown), what: '' },
      nextWakeUpAt: optional({ is: (value) => !Number.isNaN(Date.parse(String(value))), what: '' }),
    }),
    what: 'what an execution before believed: left out by whoever starts one',
  }),
};

const upkeepFields: Record<string, Field> = {
  once: optional(yes),
  everySeconds: optional(seconds),
  rounds: optional(count),
};

/** The first field that cannot be used, in words that quote nothing. */
function problemIn(given: Fields, fields: Readonly<Record<string, Field>>): string | undefined {
  const wrong = Object.entries(fields).find(([name, { is }]) => !is(given[name]));
  return wrong && `${wrong[0]} has to be ${wrong[1].what}`;
}

const reader =
  (fields: Readonly<Record<string, Field>>) =>
  (given: unknown): string | undefined =>
    isRecord(given) ? problemIn(given, fields) : `it has to be an object with ${Object.keys(fields)[0] ?? ''} and more`;

/** What is wrong with the input of `agentRun`; undefined when nothing is. */
export const problemOfRun = reader(runFields);
/** The same of `conversation`. */
export const problemOfConversation = reader(conversationFields);
/** The same of `tenantBudget`. */
export const problemOfBudget = reader(budgetFields);
/** The same of upkeep, which a schedule starts without any. */
export const problemOfUpkeep = (given: unknown): string | undefined =>
  given == null ? undefined : isRecord(given) ? problemIn(given, upkeepFields) : 'it has to be an object, or nothing';
