/** The options that say how a model is to answer. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { efforts, stopSequencesMax, type Effort, type ModelSettings } from '../core/agent/model-settings';
import { cacheTtls, type CacheTtl } from '../core/prices/usage';
import { omitUndefined } from '../core/omit-undefined';
import { askDaysMax } from '../core/budget/money-requests';
import { toolNames } from '../core/agent/tools';
import { readSchema } from './files';
import { whole } from './options';

export interface SettingsOptions {
  effort?: Effort;
  thinkingBudget?: number;
  temperature?: number;
  stop?: string[];
  answerSchema?: string;
  fallbackModel?: string[];
  promptCaching?: CacheTtl | 'off';
  lastCall?: boolean;
  tool?: string[];
  onDenied?: (typeof onDenied)[number];
  askDays?: number;
}

/** What one that is denied money does. */
const onDenied = ['fail', 'wait', 'ask'] as const;

const temperature = (text: string): number => {
  const given = Number(text);
  if (/^\d(\.\d{1,6})?$/.test(text) && given <= 2) return given;
  throw new InvalidArgumentError('It must be a number from 0 to 2, such as 0.3.');
};

const stop = (text: string, before: string[] = []): string[] => {
  if (text.trim() === '') throw new InvalidArgumentError('It must have a letter or a sign in it.');
  if (before.length === stopSequencesMax) throw new InvalidArgumentError(`There may be ${stopSequencesMax}.`);
  return [...before, text];
};

/** What a model does not take the API refuses, with what it takes. */
export const addSettings = (command: Command): Command =>
  command
    .addOption(new Option('--effort <level>', 'how hard the model thinks').choices(efforts))
    .addOption(
      new Option('--thinking-budget <tokens>', 'how many tokens of an answer may be thoughts, where it takes no effort')
        .argParser(whole(0, 64_000))
        .conflicts('effort'),
    )
    .option('--temperature <n>', 'how freely it words its answer, from 0 on', temperature)
    .option('--stop <text>', `an answer ends before it; up to ${stopSequencesMax}`, stop)
    .option('--answer-schema <path>', 'a file with a JSON Schema that the answer has to fit')
    .option(
      '--fallback-model <name>',
      'asked when the provider of the model cannot answer; several times: in this order',
      (name, before: string[] = []) => [...before, name],
    )
    .addOption(
      new Option('--prompt-caching <time>', 'how long Anthropic is asked to keep a prompt').choices([
        ...cacheTtls,
        'off',
      ]),
    )
    .option(
      '--tool <name>',
      `what it may use: ${toolNames.join(', ')}, or one that is registered (tools add), in the place of the usual ones; several times`,
      (name, before: string[] = []) => [...before, name],
    )
    .addOption(
      new Option(
        '--on-denied <what>',
        'when money is refused: end, wait for some, or wait and ask people for it',
      ).choices(onDenied),
    )
    .option(
      '--ask-days <n>',
      'with --on-denied ask: how long an answer is waited for; 3 when absent',
      whole(1, askDaysMax),
    )
    .option('--last-call', 'with --max-cost: money is held for a last answer of what was found');

/** @throws InvalidArgumentError for a file that is no JSON object. */
export async function settingsFrom({
  effort,
  thinkingBudget,
  temperature: asked,
  stop: stops,
  answerSchema,
  fallbackModel: fallbackModels,
  promptCaching,
  tool: tools,
  onDenied,
  askDays,
}: SettingsOptions): Promise<
  Pick<SettingsOptions, 'promptCaching' | 'onDenied' | 'askDays'> & {
    tools?: { name: string }[];
    settings?: ModelSettings;
    answerSchema?: Record<string, unknown>;
    fallbackModels?: string[];
  }
> {
  const settings = omitUndefined({
    effort,
    thinkingBudgetTokens: thinkingBudget,
    temperature: asked,
    stopSequences: stops,
  });
  return {
    ...omitUndefined({ fallbackModels, promptCaching, onDenied, askDays }),
    ...omitUndefined({ tools: tools?.map((name) => ({ name })) }),
    ...(Object.keys(settings).length === 0 ? {} : { settings }),
    ...(answerSchema === undefined ? {} : { answerSchema: await readSchema(answerSchema) }),
  };
}
