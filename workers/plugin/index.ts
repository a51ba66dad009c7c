/**
 * `spendlock/temporal`: a plugin for workers of agents that others wrote, beside Temporal's AI SDK integration:
 *
 *   plugins: [new AiSdkPlugin({ modelProvider: anthropic }), new SpendlockPlugin({ baseUrl, apiKey })]
 *
 * Each call of a model is reserved, claimed, priced by its result and committed; a retry is a call of its own. The workflow's commands
 * are what they were, so histories from before it came replay, and those with it without it.
 */
import { SimplePlugin } from '@temporalio/plugin';
import { createSpendlockClient } from '../../client';
import { omitUndefined } from '../../core/omit-undefined';
import { isRegionalOpenAi } from '../../core/prices/regions-openai';
import { HttpMoney } from './http-money';
import { plainModel } from './model-calls';
import { ModelTelemetry } from './model-telemetry';
import { postgresHoldSeconds, type CallMoney } from './money';
import type { PaidActivity } from './named-activities';
import { PaidActivities, type PaidActivityTerms } from './paid-activities';
import type { OpenAiServiceTier } from './provider-options';
import { scopeOf, type ScopeOptions } from './scopes';
import { Settling } from './settling';

export type { ActivityCost, PaidActivity } from './named-activities';
export type { CallMoney, SpendScope } from './money';
export type { ScopeOptions, TenantFrom } from './scopes';

/** Thrown by an activity to say that its call was surely not billed. */
export class NotBilledError extends Error {
  override readonly name = 'NotBilledError';
}

/** Over the HTTP API: its address and a key. */
interface OverHttp {
  baseUrl: string;
  /** Of the tenant that pays, with the role `agent`; or of the administration, where each call names its tenant. */
  apiKey: string;
  budget?: undefined;
}

/** By Postgres and signals, as `budgetForOwnWorker` of `spendlock/worker` reaches them. Each call names its tenant. */
interface OverPostgres {
  budget: { calls: CallMoney };
}

export type SpendlockPluginOptions = (OverHttp | OverPostgres) &
  ScopeOptions & {
    /**
     * Activities beside the AI SDK's that cost money, by their names, such as `weather-callTool` of an MCP server. With null one that has
     * a name of the AI SDK's is left alone.
     */
    activities?: Record<string, PaidActivity<never[], never> | null>;
    /** Given to a call of a model that names no `maxOutputTokens`, since nothing else bounds its cost; 8,192 unless given. */
    maxOutputTokens?: number;
    /** The most tokens that an image or a file in a prompt comes to. Without it such a prompt is refused: its bytes do not say. */
    fileTokensMax?: number;
    /** The price list's name of a model; that of the agent unless given, without `anthropic:`, `openai:` or `google:` before it. */
    modelOf?: (modelId: string) => string;
    /** How long money is held once the worker that made its call has died: then it is charged, as unverified. 180 unless given. */
    holdSeconds?: number;
    /**
     * Where models of OpenAI's are asked, where its provider was told so by `baseURL`; `OPENAI_BASE_URL`, or OpenAI's own address, unless
     * given.
     */
    openAiBaseUrl?: string;
    /** That OpenAI is asked at one of its regional addresses, at their prices; by its address unless given. */
    openAiIsRegional?: boolean;
    /**
     * A call to OpenAI itself that names no `serviceTier` is made to name the standard one. With `default`, which says that this is the
     * project's default, it stays as it is. With `auto` it stays too, as does one to any other server, and is reserved at 2.5 times the
     * standard, at which its streams are charged.
     */
    openAiServiceTier?: OpenAiServiceTier;
    /** Options of providers that are not known here and cost nothing apart, by the price list's name of the provider. Others are refused. */
    otherOptions?: Record<string, readonly string[]>;
    /** Headers of calls that are not known here, and by which none costs more. Others are refused. */
    otherHeaders?: readonly string[];
  };

/** Budgets for the paid activities of a worker. The same may be given to its client and to a worker that replays. */
export class SpendlockPlugin extends SimplePlugin {
  /** @throws TypeError where an address, a key or a limit cannot be one. */
  constructor(options: SpendlockPluginOptions) {
    const { holdSeconds = 180 } = options;
    const money = options.budget?.calls ?? new HttpMoney(clientFrom(options as OverHttp), holdSeconds);
    const settling = new Settling(money);
    const heldSeconds = options.budget ? Math.min(holdSeconds, postgresHoldSeconds) : holdSeconds;
    const terms = termsFrom(options, {
      ...{ money, settling, telemetry: new ModelTelemetry(), extendEveryMs: (heldSeconds * 1_000) / 3 },
    });
    super({
      name: 'SpendlockPlugin',
      workerInterceptors: { activity: [(context) => ({ inbound: new PaidActivities(context, terms) })] },
      runContext: async (next) => {
        try {
          await next();
        } finally {
          await Promise.all([settling.settled(), money.givenBack?.()]);
        }
      },
    });
  }
}

function clientFrom({ baseUrl, apiKey }: OverHttp): ReturnType<typeof createSpendlockClient> {
  if (!URL.canParse(baseUrl) || !/^https?:/.test(baseUrl))
    throw new TypeError('baseUrl must be the address of the API, such as http://127.0.0.1:8088. Nothing was started.');
  if (!apiKey) throw new TypeError('apiKey must be a key of the API (SPENDLOCK_API_KEY). Nothing was started.');
  return createSpendlockClient({ baseUrl: baseUrl.replace(/\/+$/, ''), apiKey });
}

function termsFrom(
  {
    scope,
    tenants,
    tenantFrom,
    activities = {},
    maxOutputTokens = 8_192,
    fileTokensMax,
    modelOf = plainModel,
    openAiBaseUrl = process.env.OPENAI_BASE_URL || undefined,
    openAiIsRegional: isRegional = isRegionalOpenAi(openAiBaseUrl),
    openAiServiceTier,
    otherOptions = {},
    otherHeaders,
    holdSeconds,
  }: SpendlockPluginOptions,
  reached: Pick<PaidActivityTerms, 'money' | 'settling' | 'telemetry' | 'extendEveryMs'>,
): PaidActivityTerms {
  for (const [name, limit] of Object.entries({ maxOutputTokens, fileTokensMax, holdSeconds }))
    if (limit !== undefined && !(Number.isInteger(limit) && limit > 0))
      throw new TypeError(`${name} must be a whole number above 0. Nothing was started.`);
  return {
    ...reached,
    scopeOf: scopeOf(omitUndefined({ scope, tenants, tenantFrom })),
    // What they are called with is theirs to know.
    activities: activities as PaidActivityTerms['activities'],
    ...{
      maxOutputTokens,
      fileTokensMax,
      modelOf,
      isRegional,
      openAiBaseUrl,
      openAiServiceTier,
      otherOptions,
      otherHeaders,
    },
  };
}
