/** What models and sandboxes cost: the versions in force, and new ones. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { formatUsd, type Usd } from '../../core/money';
import { formatFraction, latestAt, type Fraction, type ModelPrice, type TokenRates } from '../../core/prices/prices';
import { sqlState } from '../../store/pool';
import type { SandboxPrice } from '../../core/prices/sandbox-prices';
import { addModelPrices, addSandboxPrice, type RateTexts } from '../../store/prices';
import { administrationAlone, everybody } from '../http/access';
import { operatorOf, type ApiDependencies } from '../http/context';
import type { ApiEnv } from '../http/request';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { body, json, postRoute, route } from '../http/openapi';
import { addPricesBody, addSandboxPriceBody, priceView, sandboxPriceView } from './schemas';

const textOrNull = (usd: Usd | undefined): string | null => (usd === undefined ? null : formatUsd(usd));

const showRates = (rates: TokenRates): RateTexts => ({
  inputUsd: formatUsd(rates.inputUsd),
  outputUsd: formatUsd(rates.outputUsd),
  cacheReadUsd: textOrNull(rates.cacheReadUsd),
  cacheWrite5mUsd: textOrNull(rates.cacheWrite5mUsd),
  cacheWrite1hUsd: textOrNull(rates.cacheWrite1hUsd),
});

const showFactors = (factors: Readonly<Record<string, Fraction>>): Record<string, string> =>
  Object.fromEntries(Object.entries(factors).map(([value, factor]) => [value, formatFraction(factor)]));

const showPrice = ({ longContext, multipliers, ...price }: ModelPrice): z.infer<typeof priceView> => ({
  priceVersion: price.priceVersion,
  provider: price.provider,
  model: price.model,
  effectiveFrom: new Date(price.effectiveFromMs).toISOString(),
  ...showRates(price.rates),
  longContext: longContext ? { thresholdTokens: longContext.thresholdTokens, ...showRates(longContext.rates) } : null,
  webSearchPerThousandUsd: textOrNull(price.webSearchPerThousandUsd),
  multipliers: {
    serviceTier: showFactors(multipliers.serviceTier),
    speed: showFactors(multipliers.speed),
    inferenceGeo: showFactors(multipliers.inferenceGeo),
  },
  notes: price.notes,
  source: price.source,
  sourceDate: price.sourceDate,
});

const showSandboxPrice = ({ effectiveFromMs, ...price }: SandboxPrice): z.infer<typeof sandboxPriceView> => ({
  ...price,
  effectiveFrom: new Date(effectiveFromMs).toISOString(),
  vcpuSecondUsd: formatUsd(price.vcpuSecondUsd),
  gibSecondUsd: formatUsd(price.gibSecondUsd),
});

/** The version of each model, or tier, that holds at a moment. */
const inForce = <P extends { effectiveFromMs: number }>(
  prices: readonly P[],
  nameOf: (price: P) => string,
  nowMs: number,
): P[] =>
  [...new Set(prices.map(nameOf))].flatMap((name) => {
    const versions = prices.filter((price) => nameOf(price) === name);
    return latestAt(versions, nowMs) ?? [];
  });

/** Every version, those of a model or tier beside each other, in the order in which they hold. */
const inOrder = <P extends { effectiveFromMs: number }>(prices: readonly P[], nameOf: (price: P) => string): P[] =>
  [...new Set(prices.map(nameOf))].flatMap((name) =>
    prices.filter((price) => nameOf(price) === name).sort((one, other) => one.effectiveFromMs - other.effectiveFromMs),
  );

/**
 * A version that begins before the one in force would never hold, and its rates would only look as if they did.
 * @throws ApiError that names the one in force.
 */
function refuseSuperseded<P extends { effectiveFromMs: number; priceVersion: string }>(
  added: { name: string; field: string; effectiveFrom: Date },
  versions: readonly P[],
  now: Date,
): void {
  const holding = latestAt(versions, now);
  if (!holding || added.effectiveFrom.getTime() >= holding.effectiveFromMs) return;
  throw new ApiError(
    'invalid_request',
    `${added.field}: ${holding.priceVersion} is in force since ${new Date(holding.effectiveFromMs).toISOString()}; a version of ` +
      `${added.name} from ${added.effectiveFrom.toISOString()} would never hold. Leave it out for one that holds from now on. Nothing was added.`,
  );
}

/** @throws ApiError for a price that would never hold, or that would send the calls of a model to another provider. */
function refuseUnfit(
  prices: readonly { provider: string; model: string; effectiveFrom: Date }[],
  models: readonly ModelPrice[],
  now: Date,
): void {
  for (const [at, { model: name, provider, effectiveFrom }] of prices.entries()) {
    const versions = models.filter(({ model }) => model === name);
    const other = versions.find((version) => version.provider !== provider);
    // Calls name a model, and its price says whom to call.
    if (other)
      throw new ApiError(
        'invalid_request',
        `prices.${at}.provider: ${name} has a price as a model of ${other.provider}; its calls would go to ${provider}. Nothing was added.`,
      );
    refuseSuperseded({ name, field: `prices.${at}.effectiveFrom`, effectiveFrom }, versions, now);
  }
}

export function priceRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  listing(app, dependencies);
  addingModels(app, dependencies);
  addingSandboxes(app, dependencies);
}

function listing(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    route(
      { operationId: 'listPrices', summary: 'List prices', tag: 'Prices', access: everybody },
      {
        method: 'get',
        path: '/v1/prices',
        request: { query: z.object({ all: z.enum(['true', 'false']).optional() }) },
        responses: {
          200: json(
            z.object({ prices: z.array(priceView), sandboxes: z.array(sandboxPriceView) }),
            'Prices per million tokens and of sandboxes per second: those in force, or every version',
          ),
        },
      },
    ),
    async (c) => {
      const { models, sandboxes } = await dependencies.prices();
      const all = c.req.valid('query').all === 'true';
      const nowMs = Date.now();
      const shown = (all ? inOrder : inForce)(models, ({ model }) => model, nowMs);
      const tiers = (all ? inOrder : inForce)(sandboxes, ({ tier }) => tier, nowMs);
      return c.json({ prices: shown.map(showPrice), sandboxes: tiers.map(showSandboxPrice) }, 200);
    },
  );
}

function addingModels(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      {
        operationId: 'addPrices',
        summary: 'Add versions of model prices',
        tag: 'Prices',
        access: administrationAlone,
        refuses: ['price_exists'],
      },
      {
        path: '/v1/prices',
        request: { body: body(addPricesBody) },
        responses: {
          201: json(z.object({ priceVersions: z.array(z.string()) }), 'The versions were added, all of them'),
        },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const now = new Date();
      const prices = asked.prices.map(({ effectiveFrom, ...price }) => ({
        ...price,
        effectiveFrom: effectiveFrom === undefined ? now : new Date(effectiveFrom),
      }));
      return once(c, dependencies, asked, async () => {
        const { models } = await dependencies.prices();
        refuseUnfit(prices, models, now);
        try {
          const by = operatorOf(c.get('caller'), asked.author);
          const priceVersions = await addModelPrices(dependencies.pool, { prices, by });
          return { status: 201 as const, body: { priceVersions } };
        } catch (error) {
          if (sqlState(error) !== '23505') throw error;
          throw new ApiError(
            'price_exists',
            'A model that was named has a version from that very moment already, or was named twice. Nothing was added.',
          );
        }
      });
    },
  );
}

function addingSandboxes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      {
        operationId: 'addSandboxPrice',
        summary: 'Add a version of a sandbox price',
        tag: 'Prices',
        access: administrationAlone,
        refuses: ['price_exists'],
      },
      {
        path: '/v1/sandbox-prices',
        request: { body: body(addSandboxPriceBody) },
        responses: { 201: json(z.object({ priceVersion: z.string() }), 'The version was added') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const { author, effectiveFrom, ...price } = asked;
      const now = new Date();
      const added = { ...price, effectiveFrom: effectiveFrom === undefined ? now : new Date(effectiveFrom) };
      return once(c, dependencies, asked, async () => {
        const { sandboxes } = await dependencies.prices();
        const versions = sandboxes.filter(({ tier }) => tier === added.tier);
        refuseSuperseded(
          { name: added.tier, field: 'effectiveFrom', effectiveFrom: added.effectiveFrom },
          versions,
          now,
        );
        try {
          const by = operatorOf(c.get('caller'), author);
          const priceVersion = await addSandboxPrice(dependencies.pool, { price: added, by });
          return { status: 201 as const, body: { priceVersion } };
        } catch (error) {
          if (sqlState(error) !== '23505') throw error;
          throw new ApiError(
            'price_exists',
            'The tier has a version from that very moment already. Nothing was added.',
          );
        }
      });
    },
  );
}
