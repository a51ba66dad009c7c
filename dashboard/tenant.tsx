/** One tenant: what is left and until when, where it goes, who was refused and why, who holds money now. */
import { useEffect, useState } from 'preact/hooks';
import { useLive, type Api, type Overview, type RunSummary } from './api';
import { BurnDown, mainQuota, SpendByDay } from './burn-down';
import { sum } from './money';
import { Card, Meter, Moment, Problem, Shares, Status, Table, Title, Usd, useTitle } from './parts';
import { runAddress } from './places';

type Quota = Overview['quotas'][number];

export function TenantPage({ api, tenantId }: { api: Api; tenantId: string }) {
  const { value, isLive, problem } = useLive<Overview>(
    api,
    `/v1/tenants/${encodeURIComponent(tenantId)}/overview/events`,
  );
  const [filter, setFilter] = useState('');
  const { runs, onMore } = useRuns(api, tenantId, value);
  useTitle(tenantId);
  if (!value) return <Problem text={problem} />;
  const { quotas, spend, denials, alerts, holds, open } = value;
  const main = mainQuota(quotas);
  const contains = (...texts: (string | null)[]): boolean =>
    texts.join(' ').toLowerCase().includes(filter.toLowerCase());
  return (
    <>
      <Title name={tenantId} isLive={isLive} filters="runs, denials, holds" filter={filter} onFilter={setFilter}>
        {value.name !== '' && <span class="faint">{value.name}</span>}
      </Title>
      <Problem text={problem} />
      {value.frozenReason !== null && <Problem text={`Frozen: ${value.frozenReason}. Nothing new is granted.`} />}
      {value.frozenUsers.length > 0 && (
        <Problem
          text={`Frozen users: ${value.frozenUsers.map(({ userId, reason }) => `${userId} (${reason})`).join(', ')}.`}
        />
      )}
      <ul class="counts" aria-label="Now">
        <Count n={open.runs} of="open runs" />
        <Count n={open.conversations} of="open conversations" />
        <Count n={open.waitingForMoney} of="waiting for money" />
        <Count n={open.sandboxes} of="sandboxes alive" />
        <Count n={open.approvals} of="approvals pending" />
      </ul>
      <div class="cards">
        <Card title="Quotas" wide>
          <Quotas quotas={quotas} />
          {value.moreUserQuotas > 0 && (
            <p class="faint">and {value.moreUserQuotas} more quotas of users; the API shows those of each</p>
          )}
        </Card>
        {main && (
          <Card title={`Burn-down of the month (${main.resourceType})`}>
            <BurnDown quota={main} byDay={main.resourceType === 'all' ? spend.byDay : []} />
            <p class="faint">{forecastInWords(main)}</p>
          </Card>
        )}
        <Card title="Spend by day">
          <SpendByDay byDay={spend.byDay} from={spend.from} />
          <p class="faint">
            <Usd amount={sum(...spend.byDay.map(({ costUsd }) => costUsd))} /> in 31 days, of it{' '}
            <Usd amount={sum(...spend.byDay.map(({ unverifiedUsd }) => unverifiedUsd))} /> unverified: charged by
            estimate, since nobody knows yet what was billed.
          </p>
        </Card>
        <Card title="Spend by model, 31 days">
          <Shares lines={spend.byModel} none="Nothing was spent." />
        </Card>
        <Card title="Spend by user, 31 days">
          <Shares lines={spend.byUser} none="Nothing was spent." />
        </Card>
        <Card title="Runs and conversations" wide>
          <Table
            rows={runs.filter(({ runId, userId, model, status }) => contains(runId, userId, model, status))}
            keyOf={({ runId }) => runId}
            none="There is none."
            onMore={onMore}
            columns={[
              { name: 'Run', of: ({ runId }) => <a href={runAddress(tenantId, runId)}>{runId.slice(0, 8)}</a> },
              { name: 'Kind', of: ({ kind }) => kind },
              { name: 'Status', of: ({ status }) => <Status status={status} /> },
              { name: 'User', of: ({ userId }) => userId ?? <span class="faint">–</span> },
              { name: 'Model', of: ({ model }) => model },
              { name: 'Begun', of: ({ createdAt }) => <Moment at={createdAt} /> },
              { name: 'Cost', isNumber: true, of: ({ costUsd }) => <Usd amount={costUsd} /> },
            ]}
          />
        </Card>
        <Card title="Money held now" wide>
          <Table
            rows={holds.filter(({ runId, userId, model, kind }) => contains(runId, userId, model, kind))}
            keyOf={({ operationId }) => operationId}
            none="Nothing is held."
            columns={[
              { name: 'For', of: ({ kind, model }) => (model ? `${kind} · ${model}` : kind) },
              { name: 'Run', of: ({ runId }) => <RunLink tenantId={tenantId} runId={runId} /> },
              { name: 'User', of: ({ userId }) => userId ?? <span class="faint">–</span> },
              {
                name: 'State',
                of: ({ claimed, runId }) => (claimed ? 'in use' : runId === null ? 'not told' : 'not used yet'),
              },
              { name: 'Since', of: ({ decidedAt }) => <Moment at={decidedAt} /> },
              { name: 'Until', of: ({ expiresAt }) => <Moment at={expiresAt} /> },
              { name: 'Held', isNumber: true, of: ({ heldUsd }) => <Usd amount={heldUsd} /> },
            ]}
          />
        </Card>
        <Card title="Denials" wide>
          <Table
            rows={denials.filter(({ runId, userId, model, reason }) => contains(runId, userId, model, reason))}
            keyOf={({ operationId }) => operationId}
            none="Nobody was refused."
            columns={[
              { name: 'When', of: ({ deniedAt }) => <Moment at={deniedAt} /> },
              { name: 'Run', of: ({ runId }) => <RunLink tenantId={tenantId} runId={runId} /> },
              { name: 'User', of: ({ userId }) => userId ?? <span class="faint">–</span> },
              { name: 'Asked for', isNumber: true, of: ({ requestedUsd }) => <Usd amount={requestedUsd} /> },
              { name: 'Quota in the way', of: ({ quota }) => (quota ? quotaName(quota) : '–') },
              { name: 'Why', of: ({ reason }) => reason },
            ]}
          />
        </Card>
        <Card title="Alerts" wide>
          <Table
            rows={alerts}
            keyOf={({ alertId }) => alertId}
            none="No alert was raised."
            columns={[
              { name: 'When', of: ({ raisedAt }) => <Moment at={raisedAt} /> },
              {
                name: 'What',
                of: ({ kind, threshold }) =>
                  kind === 'quota_warning'
                    ? `${Math.round((threshold ?? 0) * 100)} % used`
                    : kind === 'overrun'
                      ? 'a call cost more than was granted'
                      : 'refused',
              },
              { name: 'Quota', of: ({ details }) => quotaName(details as QuotaName) },
              { name: 'Sent', of: ({ sentAt }) => (sentAt ? <Moment at={sentAt} /> : 'not yet') },
            ]}
          />
        </Card>
      </div>
    </>
  );
}

function Count({ n, of }: { n: number; of: string }) {
  return (
    <li>
      <strong>{n}</strong> {of}
    </li>
  );
}

function RunLink({ tenantId, runId }: { tenantId: string; runId: string | null }) {
  if (runId === null) return <span class="faint">from outside</span>;
  return <a href={runAddress(tenantId, runId)}>{runId.slice(0, 8)}</a>;
}

type QuotaName = Record<'scope' | 'scopeId' | 'resourceType' | 'period', string>;
const quotaName = ({ scope, scopeId, resourceType, period }: QuotaName): string =>
  `${scope === 'user' ? `user ${scopeId}` : scope} · ${resourceType} · ${period}`;

function Quotas({ quotas }: { quotas: readonly Quota[] }) {
  return (
    <Table
      rows={quotas}
      keyOf={quotaName}
      none="There is no quota: nothing is granted until one is set."
      columns={[
        { name: 'Quota', of: quotaName },
        { name: 'Used', of: (quota) => <Meter {...quota} limitUsd={sum(quota.limitUsd, quota.topupUsd)} /> },
        { name: 'Spent', isNumber: true, of: ({ spentUsd }) => <Usd amount={spentUsd} /> },
        { name: 'Reserved', isNumber: true, of: ({ reservedUsd }) => <Usd amount={reservedUsd} /> },
        { name: 'Remaining', isNumber: true, of: ({ remainingUsd }) => <Usd amount={remainingUsd} /> },
        { name: 'Limit', isNumber: true, of: ({ limitUsd, topupUsd }) => <Usd amount={sum(limitUsd, topupUsd)} /> },
        { name: 'Resets', of: ({ resetsAt }) => (resetsAt === null ? 'never' : <Moment at={resetsAt} />) },
        { name: 'Forecast', of: (quota) => forecastInWords(quota) },
      ]}
    />
  );
}

function forecastInWords({ forecast }: Quota): string {
  if (!forecast) return 'no forecast yet';
  if (forecast.exhaustedAt === null) return 'lasts until it resets';
  const day = new Date(forecast.exhaustedAt).toLocaleDateString('en-GB', {
    day: 'numeric',
    month: 'long',
    timeZone: 'UTC',
  });
  return Date.parse(forecast.exhaustedAt) <= Date.now() ? 'used up' : `used up around ${day}`;
}

type ListedRun = RunSummary & { kind: 'task' | 'conversation' };

/** As many are asked for at once, and are shown at the most. */
const runsMax = 50;
const runsShownMax = 2_000;
const newestFirst = (runs: readonly ListedRun[]): ListedRun[] =>
  [...runs].sort((a, b) => b.createdAt.localeCompare(a.createdAt));

/** The latest runs, asked for again when the overview changes, and as many older ones as were asked for. */
function useRuns(
  api: Api,
  tenantId: string,
  overview: Overview | undefined,
): { runs: ListedRun[]; onMore: (() => void) | undefined } {
  const [runs, setRuns] = useState<ListedRun[]>([]);
  const [hasMore, setHasMore] = useState<boolean>();
  const list = async (kind: ListedRun['kind'], before?: string): Promise<ListedRun[]> => {
    const query = new URLSearchParams({ tenantId, type: kind, limit: String(runsMax), ...(before && { before }) });
    const { runs: found } = await api.get<{ runs: RunSummary[] }>(`/v1/runs?${query.toString()}`);
    return found.map((run) => ({ ...run, kind }));
  };
  /** Of both kinds the newest, as far as both are known. */
  const page = async (before?: string): Promise<{ found: ListedRun[]; isFull: boolean }> => {
    const both = await Promise.all([list('task', before), list('conversation', before)]);
    const found = newestFirst(both.flat());
    return {
      found: found.slice(0, runsMax),
      isFull: found.length > runsMax || both.some((one) => one.length === runsMax),
    };
  };
  const add = (found: readonly ListedRun[]): void => {
    const ids = new Set(found.map(({ runId }) => runId));
    setRuns((known) => newestFirst([...found, ...known.filter(({ runId }) => !ids.has(runId))]).slice(0, runsShownMax));
  };
  useEffect(() => {
    let isCurrent = true;
    page()
      .then(({ found, isFull }) => {
        if (!isCurrent) return;
        add(found);
        setHasMore((had) => had ?? isFull);
      })
      // The stream says that the API is away, and brings us back here.
      .catch(() => undefined);
    return () => {
      isCurrent = false;
    };
  }, [overview]);
  const onMore = (): void => {
    page(runs.at(-1)?.createdAt)
      .then(({ found, isFull }) => {
        add(found);
        setHasMore(isFull);
      })
      .catch(() => undefined);
  };
  return { runs, onMore: hasMore && runs.length < runsShownMax ? onMore : undefined };
}
