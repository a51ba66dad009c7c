/** The route of what-if: a span of a tenant's record, decided once more by other limits, or priced by other prices (docs/decisions/0062). */
import type { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Difference } from '../../core/budget/what-if';
import type { TriedLimit } from '../../core/budget/what-if-record';
import { Replay, type Otherwise } from '../../core/budget/what-if-result';
import { formatUsd, parseAmountUsd, sumUsd, type Usd } from '../../core/money';
import { Repricing } from '../../core/prices/repricing';
import { modelPriceOf } from '../../store/prices';
import { readUsedCalls } from '../../store/used-calls';
import { isTooSlow, type Pool } from '../../store/pool';
import { playRecord, SpanTooLongError } from '../../store/what-if';
import { everybody } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { body, idParam, json, postRoute } from '../http/openapi';
import type { ApiEnv } from '../http/request';
import { quotaKeyOf } from '../tenants/quota-key';
import { span } from './span';
import { whatIfBody, whatIfView } from './what-if-schemas';

type Asked = z.output<typeof whatIfBody>;
type View = z.input<typeof whatIfView>;

export function whatIfRoute(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      {
        operationId: 'whatIf',
        summary: 'Ask what other limits or prices would have done',
        tag: 'Usage',
        access: everybody,
      },
      {
        path: '/v1/tenants/{id}/what-if',
        request: {
          params: idParam('The tenant'),
          body: body(whatIfBody, { limits: [{ resourceType: 'all', period: 'day', limitUsd: '50' }] }),
        },
        responses: { 200: json(whatIfView, 'What would have been answered otherwise. Nothing is changed') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const place = dependencies.longAnswers.place(c, 'export');
      try {
        return c.json(await whatIf(dependencies.exportPool, tenantId, asked), 200);
      } catch (error) {
        if (!(error instanceof SpanTooLongError) && !isTooSlow(error)) throw error;
        throw new ApiError(
          'invalid_request',
          'from: there is more on record since then than can be read in a minute. Nothing was changed. Ask for a shorter span.',
        );
      } finally {
        place.release();
      }
    },
  );
}

async function whatIf(pool: Pool, tenantId: string, { limits, prices, ...asked }: Asked): Promise<View> {
  const { from, to } = span(asked);
  const tried = limits.map((limit): TriedLimit => ({
    ...quotaKeyOf(tenantId, limit),
    limitUsd: parseAmountUsd(limit.limitUsd),
  }));
  const replay = new Replay(tried);
  const { since, unnumbered } = await playRecord(pool, { tenantId, from, to, tried }, replay);
  for (const [why, requests] of Object.entries(unnumbered)) replay.setApart(why, requests);
  const { recordedUsd, wouldBeUsd } = replay.costs;
  return {
    from: from.toISOString(),
    to: to.toISOString(),
    since: since?.toISOString() ?? null,
    record: {
      played: replay.played,
      reproduced: replay.reproduced,
      unlike: replay.unlike.map(requestOf),
      notReplayed: Object.entries(replay.apart).map(([why, requests]) => ({ why, requests })),
    },
    limits: tried.map(limitOf),
    ...sumsOf(replay.all),
    costs: { recordedUsd: formatUsd(recordedUsd), wouldBeUsd: formatUsd(wouldBeUsd) },
    byLimit: [...replay.byLimit.values()].map(({ limit, firstAtMs, ...sums }) => ({
      limit: limit ? limitOf(limit) : null,
      firstAt: new Date(firstAtMs).toISOString(),
      ...sumsOf(sums),
    })),
    byDay: [...replay.byDay].map(([day, sums]) => ({ day, ...sumsOf(sums) })),
    first: replay.first.map(requestOf),
    prices: prices ? await repriced(pool, { tenantId, from, to }, prices) : null,
  };
}

const limitOf = ({ scope, scopeId, resourceType, period, limitUsd }: TriedLimit) => ({
  ...{ scope, scopeId, resourceType, period },
  limitUsd: formatUsd(limitUsd),
});

const textOf = (usd: Usd | undefined): string | null => (usd === undefined ? null : formatUsd(usd));

const requestOf = ({ request, grantedUsd, quota }: Difference): View['first'][number] => ({
  operationId: request.operationId,
  at: new Date(request.atMs).toISOString(),
  userId: request.userId ?? null,
  resource: request.resource,
  askedUsd: formatUsd(request.amountUsd),
  grantedUsd: textOf(request.grantedUsd),
  wouldBeUsd: textOf(grantedUsd),
  limit: quota ? limitOf(quota) : null,
});

const sumsOf = ({ denied, deniedUsd, shrunk, shrunkUsd, raised, raisedUsd }: Otherwise) => ({
  ...{ denied, deniedUsd: formatUsd(deniedUsd), shrunk, shrunkUsd: formatUsd(shrunkUsd) },
  ...{ raised, raisedUsd: formatUsd(raisedUsd) },
});

async function repriced(
  pool: Pool,
  of: { tenantId: string; from: Date; to: Date },
  prices: NonNullable<Asked['prices']>,
): Promise<View['prices']> {
  const effectiveFrom = new Date(0);
  const repricing = new Repricing(
    prices.map((price) => modelPriceOf({ ...price, effectiveFrom, source: '', sourceDate: '1970-01-01' })),
  );
  await readUsedCalls(pool, of, (call) => repricing.add(call));
  const [models, left] = [[...repricing.byModel], [...repricing.leftOut]];
  const leftUsd = sumUsd(left.map(([, { recordedUsd }]) => recordedUsd));
  return {
    recordedUsd: formatUsd(sumUsd(models.map(([, { recordedUsd }]) => recordedUsd)) + leftUsd),
    wouldCostUsd: formatUsd(sumUsd(models.map(([, { wouldCostUsd }]) => wouldCostUsd)) + leftUsd),
    byModel: models.map(([model, { operations, recordedUsd, wouldCostUsd }]) => ({
      ...{ model, operations, recordedUsd: formatUsd(recordedUsd), wouldCostUsd: formatUsd(wouldCostUsd) },
    })),
    leftOut: left.map(([why, { operations, recordedUsd }]) => ({
      why,
      operations,
      recordedUsd: formatUsd(recordedUsd),
    })),
  };
}
