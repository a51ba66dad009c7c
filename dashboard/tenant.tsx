/** One tenant: what is left and until when, where it goes, who was refused and why, who holds money now. */
import { useState } from 'preact/hooks';
import { ofCaches } from '../client/caches';
import { counted } from '../core/counted';
import { useLive, type Api, type CurrentKey, type Overview } from './api';
import { BurnDown, mainQuota, SpendByDay } from './burn-down';
import { SpendByLabel } from './labels';
import { sum } from './money';
import { MoneyRequests } from './money-requests';
import { Card, Problem, Shares, Title, Usd, useTitle } from './parts';
import { useRuns } from './run-list';
import { Alerts, Denials, forecastInWords, Holds, Quotas, Runs, type Contains } from './tenant-tables';

interface TenantPageProps {
  api: Api;
  session: CurrentKey;
  tenantId: string;
}

export function TenantPage({ api, session, tenantId }: TenantPageProps) {
  const { links } = session;
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
  const caches = ofCaches(sum(...spend.byDay.map(({ cacheSavedUsd }) => cacheSavedUsd)));
  const contains: Contains = (...texts) => texts.join(' ').toLowerCase().includes(filter.toLowerCase());
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
      <Counts open={open} />
      <div class="cards">
        <Card title="Quotas" wide>
          <Quotas quotas={quotas} shadows={value.shadowQuotas ?? []} />
          {value.moreUserQuotas > 0 && (
            <p class="faint">
              and {counted(value.moreUserQuotas, 'more quota', 'more quotas')} of users; the API shows those of each
            </p>
          )}
          {value.moreLabelQuotas > 0 && (
            <p class="faint">
              and {counted(value.moreLabelQuotas, 'more quota', 'more quotas')} of labels; the API shows those of each
            </p>
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
            estimate, since nobody knows yet what was billed. <Usd amount={caches.usd} /> was {caches.words}.
          </p>
        </Card>
        <Card title="Spend by model, 31 days">
          <Shares lines={spend.byModel} none="Nothing was spent." />
        </Card>
        <Card title="Spend by user, 31 days">
          <Shares lines={spend.byUser} none="Nothing was spent." />
        </Card>
        <Card title="Spend by resource, 31 days">
          <Shares lines={spend.byResource} none="Nothing was spent." />
        </Card>
        {spend.labelKeys.length > 0 && (
          <Card title="Spend by label, 31 days" wide>
            <SpendByLabel api={api} tenantId={tenantId} keys={spend.labelKeys} from={spend.from} />
          </Card>
        )}
        <Card title="Asked for" wide>
          <MoneyRequests api={api} session={session} tenantId={tenantId} overview={value} />
        </Card>
        <Card title="Runs and conversations" wide>
          <Runs tenantId={tenantId} runs={runs} contains={contains} onMore={onMore} />
        </Card>
        <Card title="Money held now" wide>
          <Holds tenantId={tenantId} links={links} holds={holds} contains={contains} />
        </Card>
        <Card title="Denials" wide>
          <Denials tenantId={tenantId} links={links} denials={denials} contains={contains} />
        </Card>
        <Card title="Alerts" wide>
          <Alerts alerts={alerts} />
        </Card>
      </div>
    </>
  );
}

/** What goes on now. */
function Counts({ open }: Pick<Overview, 'open'>) {
  return (
    <ul class="counts" aria-label="Now">
      <Count n={open.runs} of="open run" many="open runs" />
      <Count n={open.conversations} of="open conversation" many="open conversations" />
      <Count n={open.waitingForMoney} of="waiting for money" many="waiting for money" />
      <Count n={open.sandboxes} of="sandbox alive" many="sandboxes alive" />
      <Count n={open.approvals} of="approval pending" many="approvals pending" />
    </ul>
  );
}

function Count({ n, of, many }: { n: number; of: string; many: string }) {
  const [figure, ...words] = counted(n, of, many).split(' ');
  return (
    <li>
      <strong>{figure}</strong> {words.join(' ')}
    </li>
  );
}
