/** The tables of a tenant's page. */
import { stateOf } from '../client/states';
import type { CurrentKey, Overview } from './api';
import { Asker } from './askers';
import { wholeLimitUsd } from './money';
import { Meter, Moment, OfEnvelope, Status, Table, Unreserved, Usd, type Column } from './parts';
import { runAddress } from './places';
import type { ListedRun } from './run-list';

/** Whether one of the texts has what the reader looks for. */
export type Contains = (...texts: (string | null)[]) => boolean;
type Quota = Overview['quotas'][number];

type Shown = Overview['shadowQuotas'][number];

/** How a limit stands, whether it binds or not. */
const figures: Column<Shown>[] = [
  { name: 'Quota', of: quotaName },
  { name: 'Used', of: (quota) => <Meter {...quota} limitUsd={wholeLimitUsd(quota)} /> },
  { name: 'Spent', isNumber: true, of: ({ spentUsd }) => <Usd amount={spentUsd} /> },
  { name: 'Reserved', isNumber: true, of: reservedOf },
  { name: 'Remaining', isNumber: true, of: ({ remainingUsd }) => <Usd amount={remainingUsd} isLeft /> },
  { name: 'Limit', isNumber: true, of: (quota) => <Limit {...quota} /> },
  { name: 'Resets', of: ({ resetsAt }) => (resetsAt === null ? 'never' : <Moment at={resetsAt} />) },
];

/** What is reserved, and how much of that is in envelopes. */
function reservedOf({ reservedUsd, inEnvelopesUsd }: Shown) {
  return (
    <>
      <Usd amount={reservedUsd} />
      {inEnvelopesUsd !== undefined && (
        <div class="faint">
          <Usd amount={inEnvelopesUsd} /> in envelopes
        </div>
      )}
    </>
  );
}

export function Quotas({ quotas, shadows }: { quotas: readonly Quota[]; shadows: readonly Shown[] }) {
  return (
    <>
      <Table
        rows={quotas}
        keyOf={quotaName}
        none="There is no quota: nothing is granted until one is set."
        columns={[...figures, { name: 'Forecast', of: (quota) => forecastInWords(quota) }]}
      />
      <Watched quotas={shadows} />
    </>
  );
}

/** Limits that refuse nothing; without one nothing is said. */
function Watched({ quotas }: { quotas: readonly Shown[] }) {
  if (quotas.length === 0) return null;
  return (
    <section aria-label="Watched quotas">
      <p class="faint">Watched, refusing nothing:</p>
      <Table rows={quotas} keyOf={quotaName} none="" columns={figures} />
    </section>
  );
}

/** A limit, and what was added to it. */
function Limit({ limitUsd, topupUsd, expiringTopups = [] }: Pick<Quota, 'limitUsd' | 'topupUsd' | 'expiringTopups'>) {
  return (
    <>
      <Usd amount={limitUsd} />
      {topupUsd !== '0' && (
        <span title={expiringTopups.length === 0 ? 'topped up until the period ends' : 'topped up'}>
          {' '}
          + <Usd amount={topupUsd} />
        </span>
      )}
      {expiringTopups.map(({ amountUsd, expiresAt }) => (
        <div class="faint">
          <Usd amount={amountUsd} /> of it until <Moment at={expiresAt} />
        </div>
      ))}
    </>
  );
}

export function forecastInWords({ forecast }: Quota): string {
  if (!forecast) return 'no forecast yet';
  if (forecast.exhaustedAt === null) return 'lasts until it resets';
  const day = new Date(forecast.exhaustedAt).toLocaleDateString('en-GB', {
    day: 'numeric',
    month: 'long',
    timeZone: 'UTC',
  });
  return Date.parse(forecast.exhaustedAt) <= Date.now() ? 'used up' : `used up around ${day}`;
}

export function Runs({
  tenantId,
  runs,
  contains,
  onMore,
}: {
  tenantId: string;
  runs: readonly ListedRun[];
  contains: Contains;
  onMore: (() => void) | undefined;
}) {
  return (
    <Table
      rows={runs.filter((run) => contains(run.runId, run.userId, run.model, stateOf(run)))}
      keyOf={({ runId }) => runId}
      none="There is none."
      onMore={onMore}
      columns={[
        { name: 'Run', of: ({ runId }) => <a href={runAddress(tenantId, runId)}>{runId.slice(0, 8)}</a> },
        { name: 'Kind', of: ({ kind }) => kind },
        { name: 'Status', of: (run) => <Status status={stateOf(run)} /> },
        { name: 'User', of: ({ userId }) => userId ?? <span class="faint">–</span> },
        { name: 'Model', of: ({ model }) => model },
        { name: 'Begun', of: ({ createdAt }) => <Moment at={createdAt} /> },
        { name: 'Cost', isNumber: true, of: ({ costUsd }) => <Usd amount={costUsd} /> },
      ]}
    />
  );
}

export function Holds({
  tenantId,
  links,
  holds,
  contains,
}: {
  tenantId: string;
  links: CurrentKey['links'];
  holds: Overview['holds'];
  contains: Contains;
}) {
  return (
    <Table
      rows={holds.filter(({ runId, workflowId, userId, model, kind }) =>
        contains(runId, workflowId, userId, model, kind),
      )}
      keyOf={({ operationId }) => operationId}
      none="Nothing is held."
      columns={[
        { name: 'For', of: ({ kind, model }) => (model ? `${kind} · ${model}` : kind) },
        { name: 'Run', of: (hold) => <Asker tenantId={tenantId} links={links} {...hold} /> },
        { name: 'User', of: ({ userId }) => userId ?? <span class="faint">–</span> },
        {
          name: 'Call',
          of: (hold) => (
            <>
              {!hold.envelope && (hold.claimed ? 'under way' : hold.runId === null ? 'not told' : 'not begun')}
              <OfEnvelope {...hold} />
              <Unreserved {...hold} />
            </>
          ),
        },
        { name: 'Since', of: ({ decidedAt }) => <Moment at={decidedAt} /> },
        { name: 'Until', of: ({ expiresAt }) => <Moment at={expiresAt} /> },
        { name: 'Held', isNumber: true, of: ({ heldUsd }) => <Usd amount={heldUsd} /> },
      ]}
    />
  );
}

export function Denials({
  tenantId,
  links,
  denials,
  contains,
}: {
  tenantId: string;
  links: CurrentKey['links'];
  denials: Overview['denials'];
  contains: Contains;
}) {
  return (
    <Table
      rows={denials.filter(({ runId, workflowId, userId, model, reason }) =>
        contains(runId, workflowId, userId, model, reason),
      )}
      keyOf={({ operationId }) => operationId}
      none="Nobody was refused."
      columns={[
        { name: 'When', of: ({ deniedAt }) => <Moment at={deniedAt} /> },
        { name: 'Run', of: (denial) => <Asker tenantId={tenantId} links={links} {...denial} /> },
        { name: 'User', of: ({ userId }) => userId ?? <span class="faint">–</span> },
        { name: 'Asked for', isNumber: true, of: ({ requestedUsd }) => <Usd amount={requestedUsd} /> },
        { name: 'Quota in the way', of: ({ quota }) => (quota ? quotaName(quota) : '–') },
        { name: 'Why', of: ({ reason }) => reason },
      ]}
    />
  );
}

export function Alerts({ alerts }: { alerts: Overview['alerts'] }) {
  return (
    <Table
      rows={alerts}
      keyOf={({ alertId }) => alertId}
      none="No alert was raised."
      columns={[
        { name: 'When', of: ({ raisedAt }) => <Moment at={raisedAt} /> },
        {
          name: 'What',
          of: ({ kind, threshold, details }) =>
            kind === 'quota_warning'
              ? `${Math.round((threshold ?? 0) * 100)} % used`
              : kind === 'overrun'
                ? 'a call cost more than was granted'
                : kind === 'money_request'
                  ? 'a run asks for money'
                  : details.enforced === false
                    ? 'would have refused'
                    : 'refused',
        },
        { name: 'Quota', of: ({ details }) => quotaName(details as QuotaName) },
        { name: 'Sent', of: ({ sentAt }) => (sentAt ? <Moment at={sentAt} /> : 'not yet') },
      ]}
    />
  );
}

type QuotaName = Record<'scope' | 'scopeId' | 'resourceType' | 'period', string> & { enforced?: boolean };
export function quotaName({ scope, scopeId, resourceType, period, enforced = true }: QuotaName): string {
  const whose = scope === 'user' || scope === 'label' ? `${scope} ${scopeId}` : scope;
  return `${whose} · ${resourceType} · ${period}${enforced ? '' : ' · watched'}`;
}
