/** Options and arguments that several commands share, each of which says by itself what is wrong with it. */
import { userInfo } from 'node:os';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { parseUuid } from '../core/ids';
import { problemOfLabelQuery } from '../core/label-query';
import { problemOfLabels, type Labels } from '../core/labels';
import { MoneyError, parseAmountUsd } from '../core/money';
import { allResources, isResource, resourceWords } from '../core/resources';

export const amount = (text: string): string => {
  try {
    parseAmountUsd(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof MoneyError ? error.message : 'It is no amount.');
  }
};

/** An amount that does something: nothing is lifted by 0. */
export const positiveAmount = (text: string): string => {
  if (parseAmountUsd(amount(text)) > 0n) return text;
  throw new InvalidArgumentError('It must be more than 0.');
};

/** An id that the installation gave or was given, in its one spelling. */
export const uuid = (text: string): string => {
  const id = parseUuid(text);
  if (id === undefined) throw new InvalidArgumentError('It is no UUID.');
  return id;
};

/** A whole number from one to another. */
export const whole =
  (from: number, to: number, unit = '') =>
  (text: string): number => {
    const number = Number(text);
    if (/^\d{1,12}$/.test(text) && number >= from && number <= to) return number;
    throw new InvalidArgumentError(`It must be a whole number${unit && ` of ${unit}`} from ${from} to ${to}.`);
  };

/** Undefined of what is no moment. */
const momentIn = (text: string): string | undefined => {
  const [, day = '', time = 'T00:00Z', zone = time.endsWith('Z') ? '' : 'Z'] =
    /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?([+-]\d\d:\d\d)?$/.exec(text) ?? [];
  const at = new Date(day + time + zone);
  return !Number.isNaN(at.getTime()) && (zone.length > 1 || at.toISOString().startsWith(day))
    ? at.toISOString()
    : undefined;
};
const momentWords = 'It must be a moment, such as 2026-12-01 or 2026-12-01T08:00:00Z';
/** A day, or a moment of one; without a zone it is of UTC. */
export const moment = (text: string): string => {
  const at = momentIn(text);
  if (at !== undefined) return at;
  throw new InvalidArgumentError(`${momentWords}.`);
};
const unitMs = { m: 60_000, h: 3_600_000, d: 86_400_000 };
/** The same, or how long from now on. */
export const momentAhead = (text: string): string => {
  const [, count, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const at =
    unit === undefined
      ? momentIn(text)
      : new Date(Date.now() + Number(count) * unitMs[unit as keyof typeof unitMs]).toISOString();
  if (at !== undefined && Number(count) !== 0) return at;
  throw new InvalidArgumentError(`${momentWords}, or how long from now, such as 90m, 2h or 7d.`);
};
/** When what was added to a limit goes. */
export const expiresOption = (): Option =>
  new Option(
    '--expires <moment>',
    'when what is unused of it goes, or how long from now (90m, 2h, 7d), instead of when the period ends',
  ).argParser(momentAhead);
export const day = (text: string): string => moment(text).slice(0, 10);
export const today = (): string => new Date().toISOString().slice(0, 10);

export interface Json {
  json?: boolean;
}

/** A share of a limit. */
export const share = (text: string): number => {
  const part = Number(text);
  if (part > 0 && part <= 1) return part;
  throw new InvalidArgumentError('It must be above 0 and at most 1, such as 0.8.');
};

/** Where a price comes from, and from when on it holds. */
export const addSource = (set: Command): Command =>
  set
    .requiredOption('--source <url>', 'who published the figures')
    .option('--source-date <day>', 'when the source said so; today when absent', day)
    .option('--from <moment>', 'when it begins to hold; now when absent', moment)
    .option('--notes <words>', 'what a reader should know');

/** What a call is billed as. */
export const resource = (text: string): string => {
  if (isResource(text)) return text;
  throw new InvalidArgumentError(`It must be a name such as llm, e2b or geocoding: ${resourceWords}; not all.`);
};
/** What a quota covers: that, or all of it. */
export const covered = (text: string): string => (text === allResources ? text : resource(text));
/** When it begins anew. */
export const periods = ['day', 'week', 'month', 'lifetime'] as const;

export interface QuotaOptions {
  user?: string;
  label?: Labels;
  resource: string;
  period: (typeof periods)[number];
}
export const userOption = new Option('--user <id>', 'of one user instead of the tenant');
export const platformOption = new Option('--platform', 'of all tenants together');
export const resourceOption = new Option('--resource <name>', 'what it covers: llm, e2b, another by name, or all')
  .argParser(covered)
  .default('all');
export const callOption = (): Option =>
  new Option('--resource <name>', 'what is called: llm for a model, e2b for a sandbox, or another such as geocoding')
    .argParser(resource)
    .default('llm');
export const periodOption = new Option('--period <period>', 'when it resets').choices(periods).default('month');
/** Words of a person, as the API takes them. */
export const words = (text: string): string => {
  // An option that was meant to follow the words that were forgotten.
  if (/^--[a-z]/.test(text)) throw new InvalidArgumentError(`${text} is an option; the words come first.`);
  if (text.trim() !== '' && text.trim().length <= wordsCharsMax) return text;
  throw new InvalidArgumentError(`It must be 1 to ${wordsCharsMax} characters, not only spaces.`);
};
const wordsCharsMax = 500;
export const reasonOption = (what = 'why, for the audit'): Option =>
  new Option('--reason <words>', what).argParser(words);
export const reasonNeeded = (): Option => reasonOption().makeOptionMandatory();
/** How many a list has at most: as many as the API gives in one page. */
export const limitOption = (otherwise = 50): Option =>
  new Option('--limit <n>', 'how many at most, up to 1,000').argParser(whole(1, 1_000)).default(otherwise);
export const cursorOption = (): Option =>
  new Option('--cursor <next>', 'the next page, by the nextCursor of the page before');
export interface Page {
  cursor?: string;
  limit: number;
}

/** Labels, one after the other. */
const label =
  (problemOf: (labels: Labels) => string | undefined) =>
  (text: string, before: Labels = {}): Labels => {
    const [, key = '', value = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    if (Object.hasOwn(before, key)) throw new InvalidArgumentError(`There is one of ${key} already.`);
    const labels = { ...before, [key]: value };
    const problem = problemOf(labels);
    if (problem === undefined) return labels;
    throw new InvalidArgumentError(`It must be such as team=search, and there may be several: labels ${problem}.`);
  };
export const labelOption = (what: string, name = '--label'): Option =>
  new Option(`${name} <key=value>`, `${what}, such as team=search; up to eight`).argParser(label(problemOfLabels));
/** Only what has all of them. */
export const labelFilter = (what = 'only what is for that'): Option =>
  new Option('--label <key=value>', `${what}, such as team=search; may be given several times`).argParser(
    label(problemOfLabelQuery),
  );
/** Labels as a query has them. */
export const labelTerms = (labels: Labels): string[] => Object.entries(labels).map(([key, value]) => `${key}:${value}`);
/** Whose limit is meant, where not the tenant's. */
export const ofLabelOption = (): Option =>
  new Option('--label <key=value>', 'of one label instead of the tenant, such as team=search')
    .argParser(label(problemOfLabelQuery))
    .conflicts('user');

/** Whose limit a command is about. */
export function scopeOf({ user, label: named }: { user?: string; label?: Labels }) {
  if (user !== undefined) return { scope: 'user' as const, scopeId: user };
  if (named === undefined) return { scope: 'tenant' as const };
  const [term = '', ...more] = labelTerms(named);
  if (more.length > 0) throw new InvalidArgumentError('A limit is of one label.');
  return { scope: 'label' as const, scopeId: term };
}

/** The person at the keyboard, for the audit. */
export const author = (): string => userInfo().username;

/** What a command is called with, for who has not called it yet. */
export const example = (command: Command, ...lines: string[]): Command =>
  command.addHelpText(
    'after',
    `\n${lines.length === 1 ? 'Example' : 'Examples'}:\n${lines.map((line) => `  npx spendlock ${line}`).join('\n')}`,
  );
