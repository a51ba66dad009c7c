/** Runs whose stand-in model calls a tenant's own tools, by a plan; some are cancelled meanwhile, and some calls are for a person to allow. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FixedReply } from '../stand-ins/knobs';
import type { ScriptMessage } from '../stand-ins/script-message';
import type { Caller } from './caller';
import type { Chance } from './random';
import { hasEnded, type Begun } from './scene';
import { ways, type ToolKind, type ToolServer, type Way } from './tool-server';

export const toolsTenant = 'chaos-tools';

/** A tool as a model calls it. */
export interface OfferedTool {
  name: string;
  way: Way;
  kind: ToolKind;
  /** Of each call; nothing where it is free. */
  priceUsd?: string;
}

/** What a model called, by its mark. */
export interface AskedCall {
  mark: string;
  tool: OfferedTool;
}

interface Registration {
  name: string;
  kind: ToolKind;
  ways: readonly Way[];
  priceUsd?: string;
  timeoutSeconds: number;
  requiresApproval?: true;
}

/** More than what a worker is stopped for: only what hangs is given up. */
const patientSeconds = 30;
const hastySeconds = 2;
const allWays = Object.keys(ways) as Way[];
/** No two prices are alike, so that a step's cost says which of its calls were charged. */
const registrations: readonly Registration[] = [
  ...allWays.map((way, index): Registration => ({
    ...{ name: `paid_${way}`, kind: 'http', ways: [way], priceUsd: (2 ** index / 10_000).toFixed(4) },
    timeoutSeconds: way === 'hangs' ? hastySeconds : patientSeconds,
  })),
  { name: 'free_slow', kind: 'http', ways: ['slow'], timeoutSeconds: patientSeconds },
  { name: 'free_hangs', kind: 'http', ways: ['hangs'], timeoutSeconds: hastySeconds },
  {
    ...{ name: 'asked', kind: 'http', ways: ['answers'], priceUsd: '0.03' },
    ...{ timeoutSeconds: patientSeconds, requiresApproval: true },
  },
  {
    ...{ name: 'paid', kind: 'mcp', ways: allWays.filter((way) => way !== 'hangs') },
    ...{ priceUsd: '0.00001', timeoutSeconds: patientSeconds },
  },
  { name: 'hasty', kind: 'mcp', ways: ['hangs'], priceUsd: '0.00002', timeoutSeconds: hastySeconds },
  { name: 'free', kind: 'mcp', ways: ['answers', 'slow', 'breaks'], timeoutSeconds: patientSeconds },
];

const offered: readonly OfferedTool[] = registrations.flatMap(({ name, kind, ways: own, priceUsd }) =>
  own.map((way) => ({
    ...{ name: kind === 'http' ? name : `${name}__${way}`, way, kind },
    ...(priceUsd === undefined ? {} : { priceUsd }),
  })),
);

/** How long somebody waits for a run, which may wait for a worker that was killed; it has no longer itself. */
const patienceMs = 120_000;

export class ToolRuns {
  /** By their marks. */
  readonly asked = new Map<string, AskedCall>();
  /** Runs that somebody cancelled. */
  readonly cancelled = new Set<string>();
  private readonly plans = new Map<string, OfferedTool[][]>();

  constructor(
    private readonly server: ToolServer,
    private readonly chance: Chance,
    private readonly load: Pick<Begun, 'runs'> & { readonly caller: Caller },
  ) {}

  /** Once its tenant is there. @throws Error when a tool cannot be registered. */
  async register(): Promise<void> {
    const inputSchema = { type: 'object', properties: { mark: { type: 'string' } }, required: ['mark'] };
    for (const { name, kind, ways: own, ...tool } of registrations) {
      const [way = 'answers'] = own;
      const body = {
        ...{ tenantId: toolsTenant, name, kind, ...tool, resultBytesMax: 1_000 },
        url: `${this.server.url}/${kind === 'http' ? way : 'mcp'}`,
        ...(kind === 'http' ? { description: `It ${way}.`, inputSchema } : {}),
        credential: { value: `Bearer ${this.server.secret}` },
      };
      const answer = await this.load.caller.insist('POST', '/v1/tools', body);
      if (answer?.status !== 201) throw new Error(`The tool ${name} is not registered: ${JSON.stringify(answer)}`);
    }
  }

  /** What the model says of a run with a plan: calls of the next step, each with a mark of its own, until none is left. */
  replyTo(messages: readonly ScriptMessage[]): FixedReply | undefined {
    const plan = this.plans.get(/plan:[0-9a-f-]{36}/.exec(JSON.stringify(messages[0]))?.[0] ?? '');
    if (!plan) return undefined;
    const answered = messages.filter(
      ({ content }) => typeof content !== 'string' && content.some(({ type }) => type === 'tool_result'),
    );
    const tools = (plan[answered.length] ?? []).map((tool) => {
      const mark = randomUUID();
      this.asked.set(mark, { mark, tool });
      return { name: tool.name, input: { mark } };
    });
    return tools.length === 0 ? { text: 'All was tried.' } : { text: 'I go on by the plan.', tools };
  }

  /** One run, from its start to its end. */
  async once(): Promise<void> {
    const { chance, load } = this;
    const { caller } = load;
    const task = `plan:${randomUUID()}`;
    const plan = Array.from({ length: chance.between(1, 3) }, () =>
      Array.from({ length: chance.between(1, 3) }, () => chance.oneOf(offered)),
    );
    const tools = [...new Set(plan.flat().map(({ name }) => name))].map((name) => ({ name }));
    const cancelsAfterMs = chance.is(0.15) ? chance.between(0, 4_000) : undefined;
    this.plans.set(task, plan);
    const body = { tenantId: toolsTenant, task, tools, limits: { timeoutSeconds: patienceMs / 1_000 } };
    const answer = await caller.insist('POST', '/v1/runs', body, { 'idempotency-key': randomUUID() });
    if (answer?.status !== 202) return void (await sleep(1_000));
    const runId = String(answer.body.runId);
    load.runs.push({ tenantId: toolsTenant, runId, atMs: Date.now() });
    const cancelled = cancelsAfterMs === undefined ? undefined : this.cancel(runId, cancelsAfterMs);
    const where = `/v1/runs/${runId}?tenantId=${toolsTenant}`;
    for (const giveUpMs = Date.now() + patienceMs; Date.now() < giveUpMs; await sleep(500)) {
      const shown = await caller.call('GET', where);
      if (shown?.body.status === 'waiting_for_approval') await this.decide(runId);
      if (hasEnded(shown)) break;
    }
    await cancelled;
  }

  private async cancel(runId: string, afterMs: number): Promise<void> {
    await sleep(afterMs);
    this.cancelled.add(runId);
    await this.load.caller.insist('POST', `/v1/runs/${runId}/cancel`, { tenantId: toolsTenant });
  }

  /** A person allows what is asked for, or does not. */
  private async decide(runId: string): Promise<void> {
    const { caller } = this.load;
    const found = await caller.call('GET', `/v1/approvals?tenantId=${toolsTenant}&runId=${runId}`);
    const approvals = (found?.body.approvals ?? []) as { approvalId: string; status: string }[];
    for (const { approvalId, status } of approvals) {
      if (status !== 'pending') continue;
      const decision = this.chance.is(0.5) ? 'approve' : 'refuse';
      await caller.call('POST', `/v1/approvals/${approvalId}`, { tenantId: toolsTenant, decision });
    }
  }
}
