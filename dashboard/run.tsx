/** One run or conversation: each paid step over time, with what was estimated, what it cost and what came back. */
import { useEffect, useState } from 'preact/hooks';
import { ofCaches } from '../client/caches';
import { stateOf } from '../client/states';
import { inWords, type Api, type CurrentKey, type Run } from './api';
import { WorkflowLink } from './askers';
import { difference, sum } from './money';
import { Card, LiveMark, Moment, OfEnvelope, Problem, Status, Unreserved, Usd, useTitle } from './parts';
import { RunTree } from './run-tree';

type Step = Run['steps'][number];

/** How its time is drawn: models and sandboxes each, and all else alike. */
const barOf = (resource: string): string => (['llm', 'e2b'].includes(resource) ? resource : 'other');

/** What it cannot go on without. A conversation that waits for a message lacks nothing. */
function inWordsOf(waitingFor: Exclude<NonNullable<Run['waitingFor']>, { kind: 'message' }>): string {
  if (waitingFor.kind === 'approval')
    return `Waits for a person, who is asked about ${waitingFor.approvals.map(({ tool }) => tool).join(', ')}.`;
  const { limitUsd, spentUsd, reservedUsd, resourceType, scope, scopeId, period } = waitingFor.quota;
  const { asks } = waitingFor;
  const asked = asks ? ` People are asked for $${asks.askedUsd}, on the page of its tenant.` : '';
  return `Waits for money: the ${resourceType} quota of ${scope} ${scopeId} per ${period} has $${limitUsd}, of which $${spentUsd} is spent and $${reservedUsd} held.${asked}`;
}

interface RunPageProps {
  api: Api;
  links: CurrentKey['links'];
  tenantId: string;
  runId: string;
}

export function RunDetails({ api, links, tenantId, runId }: RunPageProps) {
  const { run, isLive, problem } = useRun(api, { tenantId, runId });
  useTitle(`Run ${runId.slice(0, 8)}`, tenantId);
  if (!run) return <Problem text={problem} />;
  // Of an envelope and its parts the parts are the calls, and the envelope's rest is what the limits get back.
  const calls = run.steps.filter(({ kind }) => kind !== 'envelope');
  const ofLimits = run.steps.filter(({ parentOperationId }) => parentOperationId == null);
  const traceId = run.steps.find((step) => step.traceId !== null)?.traceId;
  return (
    <>
      <div class="title">
        <h1>Run {run.runId.slice(0, 8)}</h1>
        <Status status={stateOf(run)} />
        {run.endedAt === null && <LiveMark isLive={isLive} />}
        <span class="links">
          {links.workflow !== undefined && (
            <WorkflowLink links={links} workflowId={run.workflowId}>
              Temporal UI
            </WorkflowLink>
          )}
          {links.trace !== undefined && traceId != null && (
            <a href={links.trace.replace('{traceId}', traceId)} rel="noreferrer" target="_blank">
              Trace
            </a>
          )}
        </span>
      </div>
      <Problem text={problem} />
      {run.failure && <Problem text={`${String(run.failure.code)}: ${String(run.failure.message)}`} />}
      {run.waitingFor && run.waitingFor.kind !== 'message' && <Problem text={inWordsOf(run.waitingFor)} />}
      <div class="cards">
        <Card title="What it came to">
          <dl class="facts">
            <Fact name="Cost" value={<Usd amount={run.costUsd} />} />
            {run.guaranteedUsd != null && <Fact name="Guaranteed" value={<Usd amount={run.guaranteedUsd} />} />}
            <Fact name="Estimated" value={<Usd amount={sum(...calls.map(({ requestedUsd }) => requestedUsd))} />} />
            <Fact name="Held now" value={<Usd amount={sum(...run.steps.map(heldUsd))} />} />
            <Fact name="Unverified" value={<Usd amount={sum(...run.steps.map(unverifiedUsd))} />} />
            <Caches savedUsd={run.cacheSavedUsd} />
            <Fact name="Came back" value={<Usd amount={sum(...ofLimits.map(releasedUsd))} />} />
          </dl>
        </Card>
        <Card title="What it is">
          <dl class="facts">
            <Fact name="Run" value={<code>{run.runId}</code>} />
            <Fact name="Model" value={run.model} />
            <Fact name="Begun" value={<Moment at={run.createdAt} />} />
            <Fact name="Ended" value={<Moment at={run.endedAt} />} />
          </dl>
        </Card>
        {run.tree.length > 0 && (
          <Card title="Limits of runs" wide>
            <RunTree run={run} />
          </Card>
        )}
        <Card title="Steps" wide>
          <Waterfall run={run} />
        </Card>
        {run.answer !== null && (
          <Card title="Answer" wide>
            <details>
              <summary>Show</summary>
              <pre>{run.answer}</pre>
            </details>
          </Card>
        )}
      </div>
    </>
  );
}

function Fact({ name, value }: { name: string; value: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Caches({ savedUsd }: { savedUsd: string }) {
  const { usd, words } = ofCaches(savedUsd);
  return <Fact name={`${words.charAt(0).toUpperCase()}${words.slice(1)}`} value={<Usd amount={usd} />} />;
}

const isOpen = ({ status }: Step): boolean => status === 'granted';
const heldUsd = (step: Step): string => (isOpen(step) ? (step.reservedUsd ?? '0') : '0');
/** What was charged by estimate, since nobody knows what the call cost. */
const unverifiedUsd = ({ settlement, committedUsd }: Step): string =>
  settlement === 'unverified' ? (committedUsd ?? '0') : '0';
/** Of what was held, what was not used. */
function releasedUsd(step: Step): string {
  if (isOpen(step) || step.reservedUsd === null) return '0';
  const back = difference(step.reservedUsd, step.committedUsd ?? '0');
  return back.startsWith('-') ? '0' : back;
}

function Waterfall({ run }: { run: Run }) {
  const { steps } = run;
  if (steps.length === 0) return <p class="faint">It has asked for no money yet.</p>;
  const time = (at: string): number => Date.parse(at);
  const ends = steps.map((step) => endOf(step, run));
  const begin = Math.min(time(run.createdAt), ...steps.map(({ decidedAt }) => time(decidedAt)));
  const length = Math.max(1, Math.max(...ends) - begin);
  const place = (from: number, to: number): { left: string; width: string } => ({
    left: `${(100 * (from - begin)) / length}%`,
    width: `max(3px, ${(100 * Math.max(0, to - from)) / length}%)`,
  });
  return (
    <div class="scroll">
      <table class="waterfall">
        <thead>
          <tr>
            <th scope="col">Step</th>
            <th scope="col" class="time">
              {(length / 1_000).toLocaleString('en-US', { maximumFractionDigits: 1 })} s
            </th>
            <th scope="col">Status</th>
            <th scope="col" class="number">
              Estimate
            </th>
            <th scope="col" class="number">
              Actual
            </th>
            <th scope="col" class="number">
              Released
            </th>
          </tr>
        </thead>
        <tbody>
          {steps.map((step, index) => {
            const decided = time(step.decidedAt);
            const end = ends[index] ?? decided;
            const claimed = step.claimedAt === null ? end : time(step.claimedAt);
            const took = `${((end - decided) / 1_000).toFixed(2)} s`;
            return (
              <tr key={step.operationId} class={step.status}>
                <td title={step.operationId} data-name="Step">
                  {stepName(step)}
                </td>
                <td class="time" data-name="Time" title={`${took}; granted ${step.decidedAt}`}>
                  <div class="track">
                    <span class="bar waits" style={place(decided, claimed)} />
                    {step.claimedAt !== null && (
                      <span class={`bar ${barOf(step.resource)}`} style={place(claimed, end)} />
                    )}
                  </div>
                  <span class="visually-hidden">{took}</span>
                </td>
                <td data-name="Status">
                  <Status status={step.settlement === 'unverified' ? 'unverified' : step.status} />
                  <Unreserved {...step} />
                  <OfEnvelope {...step} />
                </td>
                <td class="number" data-name="Estimate">
                  <Usd amount={step.requestedUsd} />
                </td>
                <td class="number" data-name="Actual">
                  <Usd amount={step.committedUsd} />
                  {overrunUsd(step) !== undefined && (
                    <div class="status overrun" title="It cost more than was granted, and is recorded in full.">
                      <Usd amount={overrunUsd(step)} /> over
                    </div>
                  )}
                </td>
                <td class="number" data-name="Released">
                  <Usd amount={isOpen(step) || step.reservedUsd === null ? null : releasedUsd(step)} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

/** Where a step's bar ends: one that was refused took no time, and one that is not settled goes on only as long as its run. */
function endOf({ endedAt, decidedAt, status }: Step, run: Run): number {
  const decided = Date.parse(decidedAt);
  if (endedAt !== null) return Math.max(Date.parse(endedAt), decided);
  if (status === 'denied' || status === 'rejected') return decided;
  return run.endedAt === null ? Date.now() : Math.max(Date.parse(run.endedAt), decided);
}

/** What a call cost beyond its grant, or beyond what it was allowed without one. */
function overrunUsd({ reservedUsd, allowedUsd, committedUsd }: Step): string | undefined {
  const mostUsd = allowedUsd ?? reservedUsd;
  if (mostUsd === null || committedUsd === null) return undefined;
  const over = difference(committedUsd, mostUsd);
  return over === '0' || over.startsWith('-') ? undefined : over;
}

const stepName = ({ kind, step, attempt }: Step): string =>
  [kind, step === undefined ? '' : `#${step}`, (attempt ?? 1) > 1 ? `attempt ${attempt}` : '']
    .filter(Boolean)
    .join(' ');

/** The run as it stands, asked for again at each of its events. */
function useRun(
  api: Api,
  { tenantId, runId }: { tenantId: string; runId: string },
): { run: Run | undefined; isLive: boolean; problem: string | undefined } {
  const [run, setRun] = useState<Run>();
  const [isLive, setIsLive] = useState(false);
  const [problem, setProblem] = useState<string>();
  const path = `/v1/runs/${encodeURIComponent(runId)}`;
  const query = new URLSearchParams({ tenantId }).toString();
  useEffect(() => {
    const gone = new AbortController();
    const read = async (): Promise<void> => {
      const found = await api.get<Run>(`${path}?${query}`);
      if (!gone.signal.aborted) setRun(found);
    };
    const follow = async (): Promise<void> => {
      await read();
      for await (const { type } of api.events(`${path}/events?${query}`, gone.signal, setIsLive))
        if (type !== 'delta') await read();
      // Costs are folded into the ledger a moment after the last event.
      for (const waitMs of [1_000, 4_000]) {
        await new Promise((resolve) => setTimeout(resolve, waitMs));
        if (!gone.signal.aborted) await read();
      }
    };
    // Reservations come and go between events as well.
    const timer = setInterval(() => void read().catch(() => undefined), 3_000);
    follow()
      .catch((error: unknown) => setProblem(inWords(error)))
      .finally(() => clearInterval(timer));
    return () => {
      gone.abort();
      clearInterval(timer);
    };
  }, [path, query]);
  return { run, isLive, problem };
}
