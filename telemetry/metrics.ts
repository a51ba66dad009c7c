/**
 * What is counted and measured. Without a reader (no OTLP endpoint and no Prometheus port) every instrument does nothing.
 * Money is exact in the ledger; here a sum is a whole number of micro-dollars, and a gauge a float, for graphs.
 */
import { metrics, type Attributes, type Counter, type Histogram } from '@opentelemetry/api';
import type { Resource } from '../core/budget/commands';
import { PICO_PER_USD, type Usd } from '../core/money';
import { resourcesMax, tool } from '../core/resources';
import { measureCall, secondsBoundaries, type EndedModelCall, type HistogramOf } from './gen-ai';
import { LabelValues } from './label-values';
import { labelValuesMax, metricNames } from './names';

interface Instruments {
  counter(name: string, description: string, unit?: string): Counter;
  histogram: HistogramOf;
}

const wayBoundaries = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5];
const countBoundaries = [1, 2, 5, 10, 20, 50, 100, 200, 500];

/** Instruments by name, made when first used: before a reader is set they would do nothing for good. */
let made = new Map<string, Counter | Histogram>();
let known = new LabelValues();
/** What of a cost was less than a micro-dollar and is not counted yet, by counter and tenant. */
let uncounted = new Map<string, Usd>();

let isOn = false;
/** Somebody reads the metrics from here on. Instruments of an earlier reader are forgotten. */
export function turnMetricsOn(): void {
  isOn = true;
  made = new Map();
  known = new LabelValues();
  uncounted = new Map();
}

function once<T extends Counter | Histogram>(name: string, make: () => T): T {
  const found = made.get(name);
  if (found) return found as T;
  const instrument = make();
  made.set(name, instrument);
  return instrument;
}

const meter = () => metrics.getMeter('spendlock');
const use: Instruments = {
  counter: (name, description, unit = '1') => once(name, () => meter().createCounter(name, { description, unit })),
  histogram: (name, description, unit, explicitBucketBoundaries) =>
    once(name, () => meter().createHistogram(name, { description, unit, advice: { explicitBucketBoundaries } })),
};

const bounded: LabelValues['bounded'] = (...label) => known.bounded(...label);

const picoPerMicro = PICO_PER_USD / 1_000_000n;

/** Adds a cost to a counter of whole micro-dollars: a sum of floats would drift. What is left over is added to the next. */
function addCost(
  name: string,
  description: string,
  { amountUsd, ...labels }: { amountUsd: Usd; tenant: string; resource?: string },
): void {
  const key = [name, ...Object.values(labels)].join(' ');
  const owed = (uncounted.get(key) ?? 0n) + amountUsd;
  uncounted.set(key, owed % picoPerMicro);
  use.counter(name, `${description}, in micro-dollars`, 'uUSD').add(Number(owed / picoPerMicro), labels);
}

export type SandboxMetricOperation =
  'create' | 'extend' | 'pause' | 'resume' | 'execute' | 'terminate' | 'cleanup' | 'reconnect';

/** An operation on a sandbox: how it went and how long it took. */
export function countSandboxOperation(
  operation: SandboxMetricOperation,
  { ok, seconds, tier }: { ok: boolean; seconds: number; tier?: string | undefined },
): void {
  if (!isOn) return;
  const labels: Attributes = {
    operation,
    status: ok ? 'ok' : 'error',
    ...(tier === undefined ? {} : { tier: bounded('tier', tier) }),
  };
  use.counter(metricNames.sandboxTotal, 'Operations on sandboxes').add(1, labels);
  use
    .histogram(metricNames.sandboxDuration, 'How long an operation on a sandbox took', 's', secondsBoundaries)
    .record(seconds, labels);
}

export function countSandboxError(error: { operation: string; errorType: string; lifecycleStage: string }): void {
  if (!isOn) return;
  use.counter(metricNames.sandboxErrors, 'Errors of sandboxes, by the stage of their life').add(1, {
    operation: error.operation,
    error_type: bounded('error_type', error.errorType),
    lifecycle_stage: error.lifecycleStage,
  });
}

export function countModelCall(call: EndedModelCall): void {
  if (!isOn) return;
  const { outcome, kind, seconds } = call;
  const model = bounded('model', call.model);
  const provider = bounded('provider', call.provider);
  const labels = { provider, model, kind, status: outcome };
  use.counter(metricNames.llmTotal, 'Model calls').add(1, labels);
  use.histogram(metricNames.llmDuration, 'How long a model call took', 's', secondsBoundaries).record(seconds, labels);
  if (outcome !== 'ok')
    use.counter(metricNames.llmErrors, 'Model calls that failed').add(1, { provider, model, error_type: outcome });
  measureCall({ ...call, model, provider }, use.histogram);
}

/** What a decision came to. */
export interface MeasuredDecision {
  tenantId: string;
  seconds: number;
  commands: number;
  /** How many reserves were answered how. */
  answers: Partial<Record<'granted' | 'denied' | 'rejected', number>>;
  /** Costs that were posted to the ledger. */
  posted: { resource: Resource; amountUsd: Usd; isUnverified: boolean }[];
  /** Calls that cost more than was granted. */
  overruns: Resource[];
  /** What the tenant has limits of. */
  limited: readonly string[];
}

/** Counts a decision; what it came to is put together only when somebody reads. */
export function countDecision(measure: () => MeasuredDecision): void {
  if (!isOn) return;
  const decision = measure();
  const tenant = bounded('tenant', decision.tenantId);
  const ofResource = (resource: Resource) => ({ resource: resourceLabel(resource, decision.limited) });
  use
    .histogram(metricNames.decisionDuration, 'How long a batch took to be decided and recorded', 's', secondsBoundaries)
    .record(decision.seconds);
  use.histogram(metricNames.batchSize, 'Commands of a batch', '{command}', countBoundaries).record(decision.commands);
  for (const [answer, count] of Object.entries(decision.answers))
    use.counter(metricNames.decisions, 'Reserves, by what they came to').add(count, { tenant, decision: answer });
  for (const { resource, amountUsd, isUnverified } of decision.posted) {
    // A correction downwards is no cost that can be counted; the ledger has it.
    if (amountUsd > 0n) countCost(resource, { amountUsd, tenant }, ofResource);
    if (isUnverified)
      use
        .counter(metricNames.unverified, 'Costs that were charged by estimate')
        .add(1, { tenant, ...ofResource(resource) });
  }
  for (const resource of decision.overruns)
    use
      .counter(metricNames.overruns, 'Calls that cost more than was granted')
      .add(1, { tenant, ...ofResource(resource) });
}

/** Whoever asks chooses the name, and can use up those that are told apart: none of those that somebody limits. */
function resourceLabel(resource: Resource, limited: readonly string[]): string {
  if (['llm', 'e2b', tool].includes(resource)) return resource;
  return limited.includes(resource) ? bounded('limited', resource) : bounded('resource', resource, resourcesMax);
}

/** Models and sandboxes have a counter each, and all else has one by its name. */
function countCost(
  resource: Resource,
  cost: { amountUsd: Usd; tenant: string },
  ofResource: (resource: Resource) => { resource: string },
): void {
  if (resource === 'e2b') addCost(metricNames.sandboxCost, 'What sandboxes cost', cost);
  else if (resource === 'llm') addCost(metricNames.llmCost, 'What model calls cost', cost);
  else addCost(metricNames.otherCost, 'What is neither cost', { ...cost, ...ofResource(resource) });
}

/** Commands that a process signalled although it may decide under mandates, by why. */
export function countSignalled(why: string, commands = 1): void {
  if (!isOn) return;
  use
    .counter(metricNames.signalled, 'Commands of a process that may decide, which went by signal', '{command}')
    .add(commands, { reason: why });
}

/** The way of a process that may decide to Postgres and back. */
export function measureWay(seconds: number): void {
  if (!isOn) return;
  use.histogram(metricNames.wayDuration, 'A round trip to Postgres of who decides', 's', wayBoundaries).record(seconds);
}

/** Commands that an authority could neither decide nor hand to its next execution. */
export function countLeftBehind({
  tenantId,
  reserves,
  others,
}: {
  tenantId: string;
  reserves: number;
  others: number;
}): void {
  if (!isOn) return;
  const tenant = bounded('tenant', tenantId);
  const counter = use.counter(metricNames.leftBehind, 'Commands that an authority left undecided');
  if (reserves > 0) counter.add(reserves, { tenant, type: 'reserve' });
  if (others > 0) counter.add(others, { tenant, type: 'other' });
}

export function countAlert(kind: string): void {
  if (!isOn) return;
  use.counter(metricNames.alerts, 'Alerts that were sent').add(1, { kind });
}

/** How long somebody waited for the authority's answer. */
export function measureAnswer(seconds: number, outcome: 'answered' | 'none'): void {
  if (!isOn) return;
  use
    .histogram(metricNames.answerDuration, 'From asking for money to the answer', 's', secondsBoundaries)
    .record(seconds, { outcome });
}

/** A quota in its period. Floats, for graphs. */
export interface QuotaGauge {
  tenantId: string;
  resourceType: string;
  period: string;
  limitUsd: number;
  spentUsd: number;
  reservedUsd: number;
}

/** What is asked for whenever somebody reads the metrics: of the database, so that every process says the same. */
export interface Observed {
  /** Sandboxes that run and are paid for. */
  activeSandboxes: () => Promise<number>;
  /** The quotas of tenants, so many. */
  quotas: (max: number) => Promise<QuotaGauge[]>;
  /** Commands of this process that no authority has taken yet. */
  backlog: () => number;
}

export function observe({ activeSandboxes, quotas, backlog }: Observed): void {
  if (!isOn) return;
  const gauge = (name: string, description: string, unit = '1') =>
    meter().createObservableGauge(name, { description, unit });
  // A database that is away has no answer, and says so elsewhere.
  gauge(metricNames.sandboxActive, 'Sandboxes that run now').addCallback(async (result) => {
    const active = await activeSandboxes().catch(() => undefined);
    if (active !== undefined) result.observe(active);
  });
  gauge(metricNames.backlog, 'Commands that wait to be taken by an authority').addCallback((result) =>
    result.observe(backlog()),
  );
  const share = 'Share of a quota that is spent or reserved';
  const ofQuotas = {
    sandbox: gauge(metricNames.sandboxUtilization, share),
    llm: gauge(metricNames.llmUtilization, share),
    limit: gauge(metricNames.quotaLimit, 'What a quota allows in its period', 'USD'),
    spent: gauge(metricNames.quotaSpent, 'What is spent of a quota in its period', 'USD'),
    reserved: gauge(metricNames.quotaReserved, 'What is reserved of a quota', 'USD'),
  };
  meter().addBatchObservableCallback(async (result) => {
    for (const quota of await quotas(labelValuesMax).catch(() => [])) {
      const { tenantId, resourceType, period, limitUsd, spentUsd, reservedUsd } = quota;
      const labels = { tenant: tenantId, resource: resourceType, period };
      result.observe(ofQuotas.limit, limitUsd, labels);
      result.observe(ofQuotas.spent, spentUsd, labels);
      result.observe(ofQuotas.reserved, reservedUsd, labels);
      if (limitUsd <= 0) continue;
      const utilization = (spentUsd + reservedUsd) / limitUsd;
      if (['e2b', 'all'].includes(resourceType)) result.observe(ofQuotas.sandbox, utilization, labels);
      if (['llm', 'all'].includes(resourceType)) result.observe(ofQuotas.llm, utilization, labels);
    }
  }, Object.values(ofQuotas));
}
