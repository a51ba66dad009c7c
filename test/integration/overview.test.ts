/** How a tenant stands: one answer whose figures fit each other, a stream of its changes, and sums that are the ledger's. */
import { randomUUID } from 'node:crypto';
import { CompleteAsyncError } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import fc from 'fast-check';
import type { z } from '@hono/zod-openapi';
import { createBudgetActivities } from '../../activities/budget';
import type { OverviewView } from '../../api/tenants/overview-schemas';
import type { usageView } from '../../api/usage/schemas';
import { Coalescer } from '../../authority/client/coalescer';
import { PendingReplies } from '../../authority/client/pending-replies';
import { TemporalSignals } from '../../authority/client/signals';
import type { ReserveRequest } from '../../contracts/budget';
import { taskQueues } from '../../contracts/messages';
import type { BindingQuota } from '../../core/budget/commands';
import { forecast as forecastFrom } from '../../core/budget/forecast';
import { parseUsd, sumUsd } from '../../core/money';
import { usageGroups } from '../../core/usage-groups';
import { addWaiter, removeWaiter } from '../../store/money-waiters';
import { createLog } from '../../telemetry/log';
import type { TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe('the overview of a tenant', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  interface Paid {
    costUsd: string;
    userId?: string;
    model?: string;
  }
  const pay = async (tenantId: string, { costUsd, ...call }: Paid): Promise<void> => {
    const operationId = randomUUID();
    const body = { operationId, tenantId, resource: 'llm', amountUsd: costUsd, ...call };
    expect((await api.call('POST', '/v1/reservations', { body })).status).toBe(201);
    await api.call('POST', `/v1/reservations/${operationId}/commit`, { body: { tenantId, costUsd } });
  };
  const overviewOf = async (tenantId: string, key = api.adminKey): Promise<OverviewView> =>
    (await api.call('GET', `/v1/tenants/${tenantId}/overview`, { key })).body as unknown as OverviewView;

  const allQuotaOf = ({ quotas }: OverviewView): OverviewView['quotas'][number] => {
    const found = quotas.find(({ scope, resourceType }) => scope === 'tenant' && resourceType === 'all');
    if (!found) throw new Error('There is no quota of the tenant over all.');
    return found;
  };

  test('forecasts from when the tenant was made, not from the beginning of a period in which it was not there', async () => {
    const tenantId = await stack.tenant('10');
    await pay(tenantId, { costUsd: '4' });
    await until('everything is folded', async () => (await stack.books(tenantId)).ledgerUsd === '4');
    const { rows } = await stack.admin.query<{ made: Date; starts: Date; ends: Date }>(
      `UPDATE copilot_internal.tenants SET created_at = now() - interval '2 hours' WHERE tenant_id = $1
       RETURNING created_at AS made, date_trunc('month', now(), 'UTC') AS starts,
                 date_trunc('month', now(), 'UTC') + interval '1 month' AS ends`,
      [tenantId],
    );
    const { made = new Date(0), starts = new Date(0), ends = new Date(0) } = rows[0] ?? {};
    const { forecast } = allQuotaOf(await overviewOf(tenantId));
    // $4 in two hours: $10 last for five, where the month lasts as long.
    const expected = forecastFrom(
      {
        limitUsd: parseUsd('10'),
        spentUsd: parseUsd('4'),
        period: 'month',
        periodStartMs: Math.max(made.getTime(), starts.getTime()),
        periodEndMs: ends.getTime(),
      },
      Date.now(),
    );
    expect(forecast === null).toBe(expected === undefined);
    const exhausted = forecast?.exhaustedAt ?? undefined;
    expect(exhausted === undefined).toBe(expected?.exhaustedAtMs === undefined);
    if (exhausted !== undefined)
      expect(Math.abs(Date.parse(exhausted) - (expected?.exhaustedAtMs ?? 0))).toBeLessThan(300_000);
  });

  test('says what is spent, held, refused and warned of, and where it is heading', async () => {
    const tenantId = await stack.tenant('10');
    await pay(tenantId, { costUsd: '6', userId: 'ada', model: 'large' });
    await pay(tenantId, { costUsd: '2.5', userId: 'bob' });
    const held = randomUUID();
    await api.call('POST', '/v1/reservations', {
      body: { operationId: held, tenantId, resource: 'e2b', kind: 'external.sandbox', amountUsd: '1' },
    });
    const tooMuch = randomUUID();
    const denied = await api.call('POST', '/v1/reservations', {
      body: { operationId: tooMuch, tenantId, userId: 'ada', resource: 'llm', model: 'large', amountUsd: '3' },
    });
    expect(denied.status).toBe(429);
    await until('everything is folded', async () => (await stack.books(tenantId)).ledgerUsd === '8.5');
    const overview = await overviewOf(tenantId);
    expect(overview).toMatchObject({
      tenantId,
      frozenReason: null,
      spend: {
        byDay: [{ group: new Date().toISOString().slice(0, 10), costUsd: '8.5', operations: 2 }],
        byModel: [
          { group: 'large', costUsd: '6', operations: 1 },
          { group: '', costUsd: '2.5', operations: 1 },
        ],
        byUser: [
          { group: 'ada', costUsd: '6' },
          { group: 'bob', costUsd: '2.5' },
        ],
        byKind: [{ group: 'external.call', costUsd: '8.5' }],
        byResource: [{ group: 'llm', costUsd: '8.5' }],
      },
      denials: [
        { operationId: tooMuch, userId: 'ada', requestedUsd: '3', quota: { scope: 'tenant', remainingUsd: '0.5' } },
      ],
      holds: [{ operationId: held, resource: 'e2b', kind: 'external.sandbox', heldUsd: '1', claimed: false }],
      open: { runs: 0, conversations: 0, waitingForMoney: 0, sandboxes: 0, approvals: 0 },
    });
    const { forecast, ...quota } = allQuotaOf(overview);
    expect(quota).toMatchObject({ limitUsd: '10', spentUsd: '8.5', reservedUsd: '1', remainingUsd: '0.5' });
    if (forecast) expect(parseUsd(forecast.projectedUsd)).toBeGreaterThanOrEqual(parseUsd('8.5'));
    expect(overview.denials[0]?.reason).toMatch(/3|10/);
    expect(new Set(overview.alerts.map(({ kind }) => kind))).toEqual(new Set(['quota_exceeded', 'quota_warning']));
  });

  test('counts a step of a workflow of one’s own that waits for money, until it waits no more', async () => {
    const tenantId = await stack.tenant('10');
    const wait = { waiterId: randomUUID(), tenantId };
    const quota = { scope: 'tenant', resourceType: 'all', period: 'month' } as BindingQuota;
    const step = { workflowId: `own/${wait.waiterId}`, resource: 'llm', neededUsd: parseUsd('11') } as const;
    await addWaiter(stack.pool, { ...wait, ...step }, { quota });
    const { open, waiting } = await overviewOf(tenantId);
    expect(open).toMatchObject({ runs: 0, waitingForMoney: 1 });
    const { workflowId } = step;
    expect(waiting).toMatchObject([{ workflowId, runId: null, userId: null, resource: 'llm', neededUsd: '11' }]);
    const shown = await spendlock(api, 'tenants', 'show', tenantId);
    expect(shown.out).toContain(workflowId);
    expect(shown.out).toMatch(/\$11\.00 llm/);
    await removeWaiter(stack.pool, wait);
    expect((await overviewOf(tenantId)).open).toMatchObject({ waitingForMoney: 0 });
  });

  test('names the workflow of one’s own that was refused, and that holds money', async () => {
    const tenantId = await stack.tenant('10');
    const coalescer = new Coalescer({
      signals: new TemporalSignals({ client: stack.temporal, taskQueue: taskQueues(stack.prefix).budget }),
    });
    const log = createLog({ name: 'test', level: 'silent' });
    const replies = new PendingReplies({ read: () => Promise.resolve([]), log });
    const activities = createBudgetActivities({
      pool: stack.pool,
      coalescer,
      replies,
      enforced: stack.api.enforced,
      log,
    });
    const own = new MockActivityEnvironment({ workflowExecution: { workflowId: 'geocode/42', runId: randomUUID() } });
    for (const amountUsd of ['11', '1']) {
      const step = { resource: 'llm', amountUsd, priceVersion: 'geocoder', ttlSeconds: 60, kind: 'geocode' } as const;
      const asked = { tenantId, operationId: randomUUID(), ...step };
      await expect(own.run((request: ReserveRequest) => activities.reserve(request), asked)).rejects.toThrow(
        CompleteAsyncError,
      );
    }
    await coalescer.drain();
    const overview = await until('both are decided', async () => {
      const { denials, holds } = await overviewOf(tenantId);
      return denials.length + holds.length === 2 && { denials, holds };
    });
    const askedBy = { runId: null, workflowId: 'geocode/42', kind: 'geocode' };
    expect(overview).toMatchObject({ denials: [askedBy], holds: [askedBy] });
  });

  test('is sent at once, and again when it changes', async () => {
    const tenantId = await stack.tenant('10');
    const key = await api.keyOf(tenantId);
    const response = await api.request(`/v1/tenants/${tenantId}/overview/events`, { key });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    const next = async (): Promise<OverviewView> => {
      for (let text = ''; ;) {
        const { value, done } = (await reader?.read()) ?? { done: true };
        if (done) throw new Error(`The stream ended: ${text}`);
        text += value;
        const data = /^event: overview\ndata: (.*)\n\n/m.exec(text)?.[1];
        if (data !== undefined) return JSON.parse(data) as OverviewView;
      }
    };
    expect(allQuotaOf(await next())).toMatchObject({ spentUsd: '0', reservedUsd: '0' });
    await pay(tenantId, { costUsd: '4' });
    let seen = await next();
    while (allQuotaOf(seen).spentUsd !== '4') seen = await next();
    expect(seen.spend.byDay).toMatchObject([{ costUsd: '4' }]);
    await reader?.cancel();
  });

  test('is a tenant’s own, and the administration’s', async () => {
    const [mine, theirs] = await Promise.all([stack.tenant('10'), stack.tenant('10')]);
    const key = await api.keyOf(mine);
    expect((await api.call('GET', '/v1/keys/current', { key })).body).toMatchObject({ tenantId: mine });
    expect((await api.call('GET', '/v1/keys/current')).body).toMatchObject({ tenantId: null });
    for (const path of ['overview', 'overview/events'])
      expect([path, (await api.call('GET', `/v1/tenants/${theirs}/${path}`, { key })).status]).toEqual([path, 403]);
    expect((await api.call('GET', '/v1/tenants/events', { key })).status).toBe(403);
    expect((await api.call('GET', '/v1/tenants/nobody/overview')).status).toBe(404);
  });

  test('has sums that are the ledger’s, for any group and any span', async () => {
    const tenantId = await stack.tenant('1000');
    await stack.admin.query(
      `INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, entry, user_id, run_id, kind, resource, model,
         amount_usd, settlement, posted_at, reason, author)
       SELECT $1, gen_random_uuid(), CASE WHEN i % 17 = 0 THEN 'adjustment' ELSE 'commit' END, (ARRAY['ada', 'bob', NULL])[1 + i % 3],
         CASE WHEN i % 2 = 0 THEN md5((i % 5)::text)::uuid END, (ARRAY['llm.call', 'compaction'])[1 + i % 2],
         (ARRAY['llm', 'e2b'])[1 + i % 2], (ARRAY['large', 'small', NULL])[1 + i % 3],
         (CASE WHEN i % 17 = 0 THEN -1 ELSE 1 END) * i / 7.0, (ARRAY['actual', 'unverified'])[1 + (i % 11 = 0)::integer],
         timestamptz '2026-03-01' + i * interval '37 minutes', CASE WHEN i % 17 = 0 THEN 'test' END, CASE WHEN i % 17 = 0 THEN 'test' END
       FROM generate_series(1, 400) AS i`,
      [tenantId],
    );
    const moment = fc
      .integer({ min: 0, max: 12 * 24 * 60 })
      .map((minutes) => new Date(Date.UTC(2026, 1, 28) + minutes * 60_000));
    const whole = moment.map((date) => new Date(Math.floor(date.getTime() / 86_400_000) * 86_400_000));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...usageGroups),
        fc.oneof(moment, whole),
        fc.oneof(moment, whole),
        async (groupBy, a, b) => {
          const [from, to] = a < b ? [a, b] : [b, new Date(a.getTime() + 60_000)];
          const query = new URLSearchParams({ tenantId, groupBy, from: from.toISOString(), to: to.toISOString() });
          const usage = (await api.call('GET', `/v1/usage?${query.toString()}`)).body as unknown as z.infer<
            typeof usageView
          >;
          const { rows } = await stack.admin.query<{ total: string; unverified: string; operations: number }>(
            `SELECT trim_scale(coalesce(sum(amount_usd), 0))::text AS total, count(*) FILTER (WHERE entry = 'commit')::integer AS operations,
             trim_scale(coalesce(sum(amount_usd) FILTER (WHERE settlement = 'unverified'), 0))::text AS unverified
           FROM copilot_internal.cost_records WHERE tenant_id = $1 AND posted_at >= $2 AND posted_at < $3`,
            [tenantId, from, to],
          );
          expect({
            total: usage.costUsd,
            unverified: sumUsd(usage.lines.map(({ unverifiedUsd }) => parseUsd(unverifiedUsd))),
            operations: usage.lines.reduce((sum, { operations }) => sum + operations, 0),
          }).toEqual({ ...rows[0], unverified: parseUsd(rows[0]?.unverified ?? '0') });
        },
      ),
      { numRuns: 60 },
    );
  });
});
