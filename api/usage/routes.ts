/** What was spent: sums, the ledger line by line, and the gate that tells beforehand what would fit. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { nothingReserved } from '../../core/budget/denials';
import { formatUsd, parseAmountUsd, type Usd } from '../../core/money';
import { findModelPrice, UnpricedModelError } from '../../core/prices/prices';
import { estimateModelCall } from '../../core/prices/pricing';
import { estimateSandbox, findSandboxPrice, UnpricedSandboxError } from '../../core/prices/sandbox-prices';
import { listCostRecords, type CostRecord, type CostRecordFilter } from '../../store/cost-records';
import type { Pool } from '../../store/pool';
import { readRunLimits } from '../../store/run-limits';
import { allUsage, readUsage } from '../../store/usage';
import type { UsageAsked } from '../../store/usage-query';
import { spanNames } from '../../telemetry/names';
import { inSpan } from '../../telemetry/spans';
import { everybody } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import type { ApiContext, ApiEnv } from '../http/request';
import { csv, csvLines } from '../http/csv';
import { ApiError } from '../http/errors';
import { gate } from '../tenants/gate';
import type { Pieces } from '../http/long-answers';
import { labelsOver } from '../http/labels';
import { body, denied, json, medium, postRoute, route } from '../http/openapi';
import { cursorOf, numberedPlace, placeOf } from '../http/pages';
import { runNamed } from '../http/run-named';
import { showQuota } from '../tenants/quota-view';
import * as schemas from './schemas';
import { refuseEmptySpan, span } from './span';
import { whatIfRoute } from './what-if';

type App = OpenAPIHono<ApiEnv>;

export function usageRoutes(app: App, dependencies: ApiDependencies): void {
  usage(app, dependencies);
  costRecords(app, dependencies);
  quotaChecks(app, dependencies);
  whatIfRoute(app, dependencies);
}

/** The same answer as a file, for a request that asks for it. */
const orCsv = <A extends ReturnType<typeof json>>(answer: A) => ({
  ...answer,
  content: { ...answer.content, ...medium('text/csv', '').content },
});

function usage(app: App, dependencies: ApiDependencies): void {
  app.openapi(
    route(
      { operationId: 'getUsage', summary: 'Sum up what was spent', tag: 'Usage', access: everybody },
      {
        method: 'get',
        path: '/v1/usage',
        request: { query: schemas.usageQuery },
        responses: { 200: orCsv(json(schemas.usageView, 'What was spent, by group')) },
      },
    ),
    async (c) => {
      const { tenantId: named, format, label: labels, ...query } = c.req.valid('query');
      const { groupBy, thenBy } = query;
      if (thenBy === groupBy) throw new ApiError('invalid_request', 'thenBy: must be another one than groupBy.');
      const tenantId = await tenantFor(c, dependencies, named);
      const { from, to } = span(query);
      const asked = { tenantId, from, to, groupBy, thenBy, labels };
      if (format === 'csv') {
        const by = [groupBy, ...(thenBy === undefined ? [] : [thenBy])].join('-').replaceAll(':', '-');
        return csvFile(c, dependencies, `usage-by-${by}.csv`, () => usageLines(dependencies.exportPool, asked));
      }
      const { lines, costUsd, groups } = await readUsage(dependencies.pool, asked);
      const isCut = groups > lines.length;
      const said = { groupBy, thenBy: thenBy ?? null, costUsd, groups, isCut, lines };
      return c.json({ from: from.toISOString(), to: to.toISOString(), ...said }, 200);
    },
  );
}

async function* usageLines(pool: Pool, asked: UsageAsked): AsyncGenerator<string, void> {
  const by = asked.thenBy === undefined ? (['group'] as const) : (['group', 'thenGroup'] as const);
  const columns = [...by, 'costUsd', 'unverifiedUsd', 'operations', 'cacheSavedUsd'] as const;
  yield csv(columns, []);
  for await (const lines of allUsage(pool, asked)) yield csvLines(columns, lines);
}

/** As many lines of an export as are read at once. */
const readMax = 1_000;

const recordViewOf = (record: CostRecord): schemas.CostRecordView => ({
  ...record,
  postedAt: record.postedAt.toISOString(),
  recordedAt: record.recordedAt.toISOString(),
});

const recordColumns = [
  'costRecordId',
  'postedAt',
  'recordedAt',
  'tenantId',
  'userId',
  'runId',
  'conversationId',
  'turnId',
  'operationId',
  'entry',
  'kind',
  'resource',
  'model',
  'priceVersion',
  'amountUsd',
  'estimatedUsd',
  'settlement',
  'usage',
  'reason',
  'labels',
] as const satisfies readonly (keyof schemas.CostRecordView)[];

function costRecords(app: App, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  app.openapi(
    route(
      { operationId: 'listCostRecords', summary: 'Read the ledger', tag: 'Usage', access: everybody },
      {
        method: 'get',
        path: '/v1/cost-records',
        request: { query: schemas.costRecordsQuery },
        responses: {
          200: orCsv(json(schemas.costRecordsView, 'Ledger lines that match, oldest first')),
        },
      },
    ),
    async (c) => {
      const { tenantId: named, from, to, format, cursor, limit, label, ...filters } = c.req.valid('query');
      const [after] = placeOf(cursor, numberedPlace) ?? [];
      const tenantId = await tenantFor(c, dependencies, named);
      const filter = {
        ...filters,
        labels: label,
        from: from === undefined ? undefined : new Date(from),
        to: to === undefined ? undefined : new Date(to),
      };
      refuseEmptySpan(filter.from, filter.to);
      if (format === 'json') {
        const { records, hasMore } = await inSpan(spanNames.costQuery, { tenantId }, () =>
          inSpan(spanNames.costQueryDb, {}, () => listCostRecords(pool, { tenantId, filter, after, limit })),
        );
        const last = records.at(-1);
        const nextCursor = cursorOf(hasMore && last ? [last.costRecordId] : undefined);
        return c.json({ records: records.map(recordViewOf), nextCursor }, 200);
      }
      return csvFile(c, dependencies, 'cost-records.csv', () =>
        ledgerLines(dependencies.exportPool, { tenantId, filter, after }),
      );
    },
  );
}

/** The ledger page by page, to its end. */
async function* ledgerLines(
  pool: Pool,
  { after, ...asked }: { tenantId: string; filter: CostRecordFilter; after?: string | undefined },
): AsyncGenerator<string, void> {
  yield csv(recordColumns, []);
  for (let last = after; ;) {
    const { records, hasMore } = await listCostRecords(pool, { ...asked, after: last, limit: readMax });
    if (records.length > 0) yield csvLines(recordColumns, records.map(recordViewOf));
    if (!hasMore) return;
    last = records.at(-1)?.costRecordId;
  }
}

const csvFile = (c: ApiContext, { longAnswers }: ApiDependencies, name: string, pieces: Pieces): Promise<Response> =>
  longAnswers.answer(c, {
    kind: 'export',
    headers: { 'content-type': 'text/csv; charset=utf-8', 'content-disposition': `attachment; filename="${name}"` },
    pieces,
  });

function quotaChecks(app: App, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      {
        operationId: 'checkQuotas',
        summary: 'Ask whether a call would be granted',
        tag: 'Usage',
        access: everybody,
        refuses: ['quota_missing', 'run_limit_exceeded', 'unpriced_model', 'unpriced_sandbox'],
      },
      {
        path: '/v1/quota-checks',
        request: {
          body: body(schemas.quotaCheckBody, { amountUsd: '0.25' }),
        },
        responses: {
          200: json(schemas.quotaCheckView, 'It has a chance: money for it is there now. Nothing is reserved'),
          ...denied,
        },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const { userId, resource, runId } = asked;
      const tenantId = await tenantFor(c, dependencies, asked.tenantId);
      const estimatedUsd = await estimateOf(dependencies, asked);
      const named = await runNamed(dependencies.pool, { tenantId, runId }, nothingReserved);
      const { labels } = labelsOver(asked.labels, {
        inherited: [c.get('caller').labels, named?.labels],
        nothing: nothingReserved,
      });
      const run = named && {
        ...{ runId: runId ?? named.limit.id, limitId: named.limit.id },
        limits: await readRunLimits(dependencies.pool, tenantId, named.limit),
      };
      const { quotas, resource: billed } = await gate(dependencies, {
        ...{ tenantId, userId, labels, resource, run, what: nothingReserved, needsQuota: true },
        ...(estimatedUsd === undefined ? {} : { estimatedUsd }),
      });
      return c.json(
        {
          allowed: true as const,
          resourceType: billed,
          estimatedCostUsd: estimatedUsd === undefined ? null : formatUsd(estimatedUsd),
          quotas: quotas.map(showQuota),
        },
        200,
      );
    },
  );
}

/** What it may cost at most. A sandbox that is not described is the standard one for five minutes (requirement Q6). */
async function estimateOf(
  { recentPrices }: ApiDependencies,
  { estimatedUsd, amountUsd = estimatedUsd, call, sandbox, resource }: schemas.QuotaCheckBody,
): Promise<Usd | undefined> {
  if (amountUsd !== undefined) return parseAmountUsd(amountUsd);
  if (resource !== 'e2b' && !call) return undefined;
  const { models, sandboxes } = await recentPrices.list();
  const at = Date.now();
  try {
    if (resource !== 'e2b' && call) return estimateModelCall(findModelPrice(models, { model: call.model, at }), call);
    const { tier, seconds } = sandbox ?? { tier: 'standard', seconds: 300 };
    return estimateSandbox(findSandboxPrice(sandboxes, { tier, at }), { seconds });
  } catch (error) {
    if (error instanceof UnpricedModelError) throw new ApiError('unpriced_model', error.message);
    if (error instanceof UnpricedSandboxError) throw new ApiError('unpriced_sandbox', error.message);
    throw error;
  }
}
