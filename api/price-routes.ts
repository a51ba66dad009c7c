/** What models cost: the versions in force, and new ones. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { formatUsd, type Usd } from '../core/money';
import { formatFraction, latestAt, type Fraction, type ModelPrice, type TokenRates } from '../core/prices';
import { sqlState } from '../store/pool';
import { addModelPrices, type RateTexts } from '../store/prices';
import { operatorOf } from './control-routes';
import { requireAdministration, type ApiDependencies, type ApiEnv } from './context';
import { ApiError } from './errors';
import { once } from './idempotency';
import { failures, idempotencyHeader, json, security } from './openapi';
import { addPricesBody, priceView } from './schemas';

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

const showPrice = ({ longContext, multipliers, ...price }: ModelPrice): z.input<typeof priceView> => ({
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

/** The version of each model that holds at a moment. */
const inForce = (models: readonly ModelPrice[], nowMs: number): ModelPrice[] =>
  [...new Set(models.map(({ model }) => model))].flatMap((name) => {
    const versions = models.filter(({ model }) => model === name);
    return latestAt(versions, nowMs) ?? [];
  });

export function priceRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/prices',
      security,
      request: { query: z.object({ all: z.enum(['true', 'false']).optional() }) },
      responses: {
        200: json(
          z.object({ prices: z.array(priceView) }),
          'Prices per million tokens: those in force, or every version',
        ),
        ...failures,
      },
    }),
    async (c) => {
      const { models } = await dependencies.prices();
      const shown = c.req.valid('query').all === 'true' ? models : inForce(models, Date.now());
      return c.json({ prices: shown.map(showPrice) }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/prices',
      security,
      request: {
        headers: idempotencyHeader,
        body: { required: true, content: { 'application/json': { schema: addPricesBody } } },
      },
      responses: {
        201: json(z.object({ priceVersions: z.array(z.string()) }), 'The versions were added, all of them'),
        ...failures,
      },
    }),
    async (c) => {
      requireAdministration(c);
      const body = c.req.valid('json');
      const now = new Date();
      const prices = body.prices.map(({ effectiveFrom, ...price }) => ({
        ...price,
        effectiveFrom: effectiveFrom === undefined ? now : new Date(effectiveFrom),
      }));
      return (await once(c, dependencies, body, async () => {
        try {
          const by = operatorOf(c.get('caller'), body.author);
          const priceVersions = await addModelPrices(dependencies.pool, { prices, by });
          return { status: 201 as ContentfulStatusCode, body: { priceVersions } };
        } catch (error) {
          if (sqlState(error) !== '23505') throw error;
          throw new ApiError(
            'price_exists',
            'A model that was named has a version from that very moment already, or was named twice. Nothing was added.',
          );
        }
      })) as never;
    },
  );
}
