/** Every tenant at a glance, those nearest to their limit first. */
import { useEffect, useState } from 'preact/hooks';
import { useLive, type Api, type TenantSummary } from './api';
import { asNumber, leftUsd, wholeLimitUsd } from './money';
import { Card, Meter, Problem, Status, Table, Title, Usd, useTitle } from './parts';
import { tenantAddress } from './places';

const use = ({ limitUsd, spentUsd, reservedUsd }: TenantSummary): number =>
  limitUsd === null ? -1 : (asNumber(spentUsd) + asNumber(reservedUsd)) / Math.max(asNumber(limitUsd), 1e-12);

export function TenantsPage({ api }: { api: Api }) {
  const { value, isLive, problem } = useLive<{ tenants: TenantSummary[] }>(api, '/v1/tenants/events');
  const [filter, setFilter] = useState('');
  useTitle('Tenants');
  if (!value) return <Problem text={problem} />;
  const wanted = value.tenants
    .filter(({ tenantId, name }) => `${tenantId} ${name}`.toLowerCase().includes(filter.toLowerCase()))
    .sort((a, b) => use(b) - use(a) || a.tenantId.localeCompare(b.tenantId));
  return (
    <>
      <Title name="Tenants" isLive={isLive} filters="tenants" filter={filter} onFilter={setFilter} />
      <Problem text={problem} />
      <Platform api={api} tenants={value.tenants} />
      <Table
        rows={wanted}
        keyOf={({ tenantId }) => tenantId}
        none={
          filter === '' ? 'There is no tenant yet. npx spendlock tenants add makes one.' : 'No tenant is called that.'
        }
        max={100}
        columns={[
          { name: 'Tenant', of: ({ tenantId }) => <a href={tenantAddress(tenantId)}>{tenantId}</a> },
          { name: 'Name', of: ({ name }) => name },
          {
            name: 'Budget used',
            of: ({ limitUsd, spentUsd, reservedUsd }) =>
              limitUsd === null ? (
                <span class="faint">no monthly limit</span>
              ) : (
                <Meter limitUsd={limitUsd} spentUsd={spentUsd ?? '0'} reservedUsd={reservedUsd ?? '0'} />
              ),
          },
          { name: 'Spent', isNumber: true, of: ({ spentUsd }) => <Usd amount={spentUsd} /> },
          { name: 'Reserved', isNumber: true, of: ({ reservedUsd }) => <Usd amount={reservedUsd} /> },
          { name: 'Limit', isNumber: true, of: ({ limitUsd }) => <Usd amount={limitUsd} /> },
          { name: 'Remaining', isNumber: true, of: (tenant) => <Usd amount={remainingOf(tenant)} isLeft /> },
          { name: 'State', of: ({ frozenReason }) => (frozenReason === null ? '' : <Status status="frozen" />) },
        ]}
      />
    </>
  );
}

interface PlatformQuota {
  resourceType: string;
  period: string;
  limitUsd: string;
  topupUsd: string;
  spentUsd: string;
  reservedUsd: string;
  leasedUsd: string;
  remainingUsd: string;
}

/** What binds all tenants together, asked for again when one of them changes. Nothing where there is no such limit. */
function Platform({ api, tenants }: { api: Api; tenants: readonly TenantSummary[] }) {
  const [quotas, setQuotas] = useState<PlatformQuota[]>([]);
  useEffect(() => {
    // A passing failure leaves what was shown; the list of tenants says that the API is away.
    api.get<{ quotas: PlatformQuota[] }>('/v1/platform/quotas').then(
      (answer) => setQuotas(answer.quotas),
      () => undefined,
    );
  }, [tenants]);
  if (quotas.length === 0) return null;
  return (
    <Card title="All tenants together">
      <Table
        rows={quotas}
        keyOf={({ resourceType, period }) => `${resourceType} ${period}`}
        none=""
        columns={[
          { name: 'Quota', of: ({ resourceType, period }) => `platform · ${resourceType} · ${period}` },
          { name: 'Used', of: (quota) => <Meter {...quota} limitUsd={wholeLimitUsd(quota)} /> },
          { name: 'Spent', isNumber: true, of: ({ spentUsd }) => <Usd amount={spentUsd} /> },
          { name: 'Reserved', isNumber: true, of: ({ reservedUsd }) => <Usd amount={reservedUsd} /> },
          { name: 'Leased', isNumber: true, of: ({ leasedUsd }) => <Usd amount={leasedUsd} /> },
          { name: 'Remaining', isNumber: true, of: ({ remainingUsd }) => <Usd amount={remainingUsd} /> },
          { name: 'Limit', isNumber: true, of: (quota) => <Usd amount={wholeLimitUsd(quota)} /> },
        ]}
      />
    </Card>
  );
}

const remainingOf = ({ limitUsd, spentUsd, reservedUsd }: TenantSummary): string | null =>
  limitUsd === null
    ? null
    : leftUsd({ limitUsd, topupUsd: '0', spentUsd: spentUsd ?? '0', reservedUsd: reservedUsd ?? '0' });
