/**
 * How a model is to answer: how hard it thinks, how freely it words, where it stops. Which model takes what, what is refused by name
 * before anything is paid, and what one call asks for. Thoughts are output: within a call's `maxOutputTokens`, which its estimate pays for.
 *
 * Sources, as of 2026-11-29: Anthropic's pages "Effort", "Extended thinking" and the migration guides of its models; OpenAI's reasoning guide
 * and model pages; Google's "Gemini thinking" and "What's new" pages. A model that no rule names takes what the newest of its provider take:
 * what its provider refuses costs nothing.
 */
import type { AnswerSchema } from './answer-schema';

export const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const;
export type Effort = (typeof efforts)[number];

/** As a run's options have them. */
export interface ModelSettings {
  effort?: Effort | undefined;
  /** Tokens of an answer that may be thoughts; 0 for none. */
  thinkingBudgetTokens?: number | undefined;
  temperature?: number | undefined;
  stopSequences?: string[] | undefined;
}

/** So many are taken wherever any are. */
export const stopSequencesMax = 5;

interface Taken {
  /** From the least to the most. */
  efforts: readonly Effort[];
  /** Tokens; `canBeOff` where thinking can be turned off. */
  budget?: { min: number; max?: number; canBeOff: boolean };
  /** The highest; absent where none is taken. */
  temperatureMax?: number;
  /** A temperature is taken only beside this effort. */
  temperatureWith?: Effort;
  stopSequences: boolean;
  /** It thinks as it needs to when it is asked for an effort. */
  isAdaptive?: true;
  /** Its thoughts are refused behind other words than those that it had them after. */
  bindsThoughts?: true;
}

type Rule = [of: RegExp, taken: Taken];

const upToHigh = ['low', 'medium', 'high'] as const;
const upToMax = [...upToHigh, 'xhigh', 'max'] as const;

const budgetOfClaude = { min: 1_024, canBeOff: true };
const newestClaude: Taken = { efforts: upToMax, stopSequences: true, isAdaptive: true, bindsThoughts: true };
const claude: Rule[] = [
  [/^claude-3-(5-|haiku|opus|sonnet)/, { efforts: [], temperatureMax: 1, stopSequences: true }],
  [/^claude-opus-4-5/, { efforts: upToHigh, budget: budgetOfClaude, temperatureMax: 1, stopSequences: true }],
  [
    /^claude-(opus|sonnet)-4-6/,
    {
      efforts: [...upToHigh, 'max'],
      budget: budgetOfClaude,
      temperatureMax: 1,
      stopSequences: true,
      isAdaptive: true,
    },
  ],
  [/^claude-opus-4-[78]/, { efforts: upToMax, stopSequences: true, isAdaptive: true }],
  [
    /^claude-(3-7-|(haiku|sonnet|opus)-4(-[015])?(-20|$))/,
    { efforts: [], budget: budgetOfClaude, temperatureMax: 1, stopSequences: true },
  ],
  [/^claude-(haiku|sonnet|opus|fable)-5(-20|$)/, { efforts: upToMax, stopSequences: true, isAdaptive: true }],
  [/^/, newestClaude],
];

const gpt: Rule[] = [
  [/^gpt-(3|4)/, { efforts: [], temperatureMax: 2, stopSequences: false }],
  [/^o\d/, { efforts: upToHigh, stopSequences: false }],
  [/^gpt-5-pro/, { efforts: ['high'], stopSequences: false }],
  [/^gpt-5\.[2-5]-pro/, { efforts: ['medium', 'high', 'xhigh'], stopSequences: false }],
  [/^gpt-5(-|$)/, { efforts: ['minimal', ...upToHigh], stopSequences: false }],
  [
    /^gpt-5\.1(-|$)/,
    { efforts: ['none', ...upToHigh], temperatureMax: 2, temperatureWith: 'none', stopSequences: false },
  ],
  [
    /^gpt-5\.[2-5](-|$)/,
    { efforts: ['none', ...upToHigh, 'xhigh'], temperatureMax: 2, temperatureWith: 'none', stopSequences: false },
  ],
  [
    /^gpt-(5\.[6-9]|6-(sol|luna)|6\.1-terra)/,
    { efforts: ['none', ...upToMax], temperatureMax: 2, temperatureWith: 'none', stopSequences: false },
  ],
  [/^/, { efforts: upToMax, stopSequences: false }],
];

const gemini: Rule[] = [
  [/^gemini-(1|2\.0)/, { efforts: [], temperatureMax: 2, stopSequences: true }],
  [
    /^gemini-2\.5-pro/,
    { efforts: [], budget: { min: 128, max: 32_768, canBeOff: false }, temperatureMax: 2, stopSequences: true },
  ],
  [
    /^gemini-2\.5-flash-lite/,
    { efforts: [], budget: { min: 512, max: 24_576, canBeOff: true }, temperatureMax: 2, stopSequences: true },
  ],
  [
    /^gemini-2\.5/,
    { efforts: [], budget: { min: 1, max: 24_576, canBeOff: true }, temperatureMax: 2, stopSequences: true },
  ],
  [/^gemini-3-pro/, { efforts: ['low', 'high'], temperatureMax: 2, stopSequences: true }],
  [/^gemini-3\.1-pro/, { efforts: upToHigh, temperatureMax: 2, stopSequences: true }],
  [/^gemini-3(\.[0-5])?-/, { efforts: ['minimal', ...upToHigh], temperatureMax: 2, stopSequences: true }],
  [/^gemini-3\.6/, { efforts: ['minimal', ...upToHigh], stopSequences: true }],
  [/^/, { efforts: upToHigh, stopSequences: true }],
];

const rules: Readonly<Record<string, Rule[]>> = { anthropic: claude, openai: gpt, google: gemini };

/**
 * Whether a model's provider makes its answers by a schema: Claude from 4.5, GPT from 4o on, and Gemini, which does not do so beside tools
 * before Gemini 3.
 */
function answersBySchema({ provider, model }: Named, { hasTools }: { hasTools: boolean }): boolean {
  if (provider === 'anthropic') return !/^claude-(3-|(opus|sonnet)-4(-[01])?(-20|$))/.test(model);
  if (provider === 'openai') return !/^gpt-(3|4(-|$))/.test(model);
  return provider === 'google' && !(hasTools && /^gemini-[12]/.test(model));
}

/** The schema that a model's provider is to make an answer by; undefined where there is none, or it is asked for in words alone. */
export const schemaFor = (
  named: Named,
  { answerSchema, tools }: { answerSchema?: AnswerSchema | undefined; tools: readonly unknown[] },
): AnswerSchema | undefined =>
  answerSchema && answersBySchema(named, { hasTools: tools.length > 0 }) ? answerSchema : undefined;

interface Named {
  provider: string;
  model: string;
}

/** What a model takes; nothing of a provider that nobody knows. */
function takenBy({ provider, model }: Named): Taken {
  const found = Object.hasOwn(rules, provider) ? rules[provider]?.find(([of]) => of.test(model)) : undefined;
  return found?.[1] ?? { efforts: [], stopSequences: false };
}

/** Whether a model is told how much to think by an effort alone, and takes as much as it needs. */
export const thinksAsNeeded = (named: Named): boolean => takenBy(named).isAdaptive === true;

/** Whether a model thinks by an effort that it can be told. */
export const hasThoughts = (named: Named): boolean => takenBy(named).efforts.length > 0;

/** Whether a model's thoughts are to be left out once what came before them is told otherwise. */
export const bindsThoughts = (named: Named): boolean => takenBy(named).bindsThoughts === true;

/** What of the settings a model does not take, and what it takes, in words; undefined where it takes all of them. */
export function problemOfSettings(
  { model, ...named }: Named,
  settings: ModelSettings,
  { maxOutputTokens }: { maxOutputTokens: number },
): string | undefined {
  const taken = takenBy({ model, ...named });
  const { effort, thinkingBudgetTokens: budget, temperature, stopSequences } = settings;
  const refused = (field: string, why: string): string =>
    `settings.${field}: ${model} ${why}. It takes ${wordsOf(taken)}.`;
  if (effort !== undefined && !taken.efforts.includes(effort))
    return refused('effort', taken.efforts.length === 0 ? 'takes none' : `takes no ${effort}`);
  if (budget !== undefined) {
    if (!taken.budget) return refused('thinkingBudgetTokens', 'takes none');
    const { min, max = Infinity, canBeOff } = taken.budget;
    if (budget === 0 ? !canBeOff : budget < min || budget > max)
      return refused('thinkingBudgetTokens', `takes no ${budget}`);
    if (budget >= maxOutputTokens)
      return `settings.thinkingBudgetTokens: thoughts are a part of an answer, so that it has to be less than limits.maxOutputTokens (${maxOutputTokens}).`;
  }
  if (stopSequences !== undefined && stopSequences.length > 0 && !taken.stopSequences)
    return refused('stopSequences', 'takes none');
  if (temperature === undefined) return undefined;
  const { temperatureMax: hottest, temperatureWith } = taken;
  if (hottest === undefined) return refused('temperature', 'takes none');
  if (temperature > hottest) return refused('temperature', `takes none above ${hottest}`);
  if (temperatureWith !== undefined && effort !== temperatureWith)
    return refused('temperature', `takes one only with effort ${temperatureWith}`);
  const thinks = named.provider === 'anthropic' && ((budget ?? 0) > 0 || (effort !== undefined && taken.isAdaptive));
  return thinks ? refused('temperature', 'takes none while it thinks') : undefined;
}

function wordsOf({ efforts: levels, budget, temperatureMax, temperatureWith, stopSequences }: Taken): string {
  const { min = 0, max, canBeOff = false } = budget ?? {};
  const range = max === undefined ? `from ${min} on` : `from ${min} to ${max}`;
  const words = [
    ...(levels.length > 0 ? [`effort (${levels.join(', ')})`] : []),
    ...(budget ? [`thinkingBudgetTokens (${canBeOff && min > 0 ? '0, or ' : ''}${range})`] : []),
    ...(temperatureMax === undefined
      ? []
      : [
          `temperature (0 to ${temperatureMax}${temperatureWith === undefined ? '' : `, with effort ${temperatureWith}`})`,
        ]),
    ...(stopSequences ? [`stopSequences (at most ${stopSequencesMax})`] : []),
  ];
  return words.length === 0 ? 'none of these settings' : words.join(', ');
}

/** The shortest answer that thoughts have to leave room for. */
const answerTokensMin = 256;

/** With less than that an effort would use all of it: the least is asked for. */
const effortTokensMin = 1_024;

/**
 * What one call asks for: thoughts that leave room for an answer where less was granted, and as few as there can be where it is the last one
 * without tools.
 */
export function settingsOfCall(
  named: Named,
  { effort, thinkingBudgetTokens: budget, ...rest }: ModelSettings,
  { maxOutputTokens, isLast = false }: { maxOutputTokens: number; isLast?: boolean | undefined },
): ModelSettings {
  const { efforts: levels, budget: range } = takenBy(named);
  if (effort !== undefined)
    return { ...rest, effort: isLast || maxOutputTokens < effortTokensMin ? levels[0] : effort };
  if (budget === undefined || !range) return rest;
  const fitting = isLast ? 0 : Math.min(budget, maxOutputTokens - answerTokensMin);
  return { ...rest, thinkingBudgetTokens: fitting >= range.min ? fitting : range.canBeOff ? 0 : range.min };
}
