/**
 * Callers that reserve, commit, release, overrun, die in the middle and repeat themselves, over HTTP and by signals of their
 * own; agent runs; and people who talk. Each keeps what it was told, to be compared with the books.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BudgetCommand, ReserveCommand } from '../../core/budget/commands';
import { Askers } from './asking';
import { Caller } from './caller';
import { talk } from './conversations';
import { spendInParts } from './envelopes';
import type { Installation } from './installation';
import { Chance } from './random';
import { limitsOfRun } from './run-limits';
import type { Begun, Talking, Tenant, ToldMessage } from './scene';
import { ToolRuns } from './tool-runs';

export interface Told {
  tenantId: string;
  operationId: string;
  decision?: { status: 'granted' | 'denied'; grantedUsd?: string };
  /** When each of it was acknowledged, in milliseconds since 1970. */
  readonly atMs: number[];
  /** What an acknowledged commit said it cost. */
  committedUsd?: string;
  /** A release was acknowledged. */
  released?: boolean;
}

/** How long somebody waits for a run before the next. */
const runPatienceMs = 60_000;
/** How many wait so, of each tenant. */
const runnersPerTenant = 2;
/** How many runs call tools, and how many ask for money, at any time. */
const toolRunners = 5;
const askersAtOnce = 4;

export class Load implements Begun, Talking {
  readonly told: Told[] = [];
  readonly runs: Begun['runs'] = [];
  readonly conversations: Begun['conversations'] = [];
  readonly messages: ToldMessage[] = [];
  readonly caller: Caller;
  /** Both where tools take part: of another version beside this one neither is known. */
  readonly toolRuns: ToolRuns | undefined;
  readonly askers: Askers | undefined;
  isStopping = false;
  private underWay: Promise<void>[] = [];

  constructor(
    private readonly installation: Installation,
    private readonly tenants: readonly Tenant[],
    seed: number,
  ) {
    this.caller = new Caller(installation);
    const { tools } = installation;
    if (!tools) return;
    this.toolRuns = new ToolRuns(tools, new Chance(seed * 1_000 + 901), this);
    this.askers = new Askers(new Chance(seed * 1_000 + 902), this);
  }

  async start(callersPerTenant: number): Promise<void> {
    await this.startToolsAndAskers();
    for (const tenant of this.tenants) {
      for (let index = 0; index < callersPerTenant; index += 1) this.underWay.push(this.loop(() => this.pair(tenant)));
      for (let index = 0; index < runnersPerTenant; index += 1) this.underWay.push(this.loop(() => this.run(tenant)));
      this.underWay.push(this.loop(() => talk(tenant, this)));
      this.underWay.push(this.loop(() => spendInParts(tenant, this.caller)));
    }
  }

  private async startToolsAndAskers(): Promise<void> {
    const { toolRuns, askers } = this;
    if (!toolRuns || !askers) return;
    await toolRuns.register();
    this.installation.anthropic.knobs.replyTo = (messages) => toolRuns.replyTo(messages);
    for (let index = 0; index < toolRunners; index += 1) this.underWay.push(this.loop(() => toolRuns.once()));
    for (let index = 0; index < askersAtOnce; index += 1) this.underWay.push(this.loop(() => askers.once()));
  }

  /** No more is begun; returns when what was begun is over. */
  async stop(): Promise<void> {
    this.isStopping = true;
    await Promise.all(this.underWay);
  }

  private async loop(once: () => Promise<void>): Promise<void> {
    while (!this.isStopping) {
      await once().catch(() => undefined);
      await sleep(20);
    }
  }

  private async pair({ tenantId, chance }: Tenant): Promise<void> {
    const cents = chance.between(1, 120);
    const amountUsd = (cents / 100).toFixed(2);
    const operationId = randomUUID();
    const body = {
      operationId,
      tenantId,
      userId: chance.oneOf(['ada', 'grace', 'edsger']),
      // By its amount, so that a seed chooses all else as it did.
      resource: cents % 4 === 0 ? 'geocoding' : 'llm',
      amountUsd,
      ...(chance.is(0.2) ? { minimumUsd: (cents / 400).toFixed(4) } : {}),
      ttlSeconds: chance.between(2, 12),
      ...(chance.is(0.3) ? { onExpiry: 'settle' } : {}),
      ...(chance.is(0.5) ? { labels: { team: chance.oneOf(['search', 'ads']) } } : {}),
    };
    const told: Told = { tenantId, operationId, atMs: [] };
    this.told.push(told);
    if (chance.is(0.15)) this.signalAlongside(tenantId, body as unknown as ReserveCommand, chance);
    // One id has many spellings; a repeat, a commit or a release may come in another.
    const spelt = (): string => (chance.is(0.15) ? operationId.toUpperCase() : operationId);
    const repeats = chance.is(0.1) ? 2 : 1;
    const fate = chance.next();
    const costUsd = ((cents * (fate < 0.1 ? 1.3 : chance.next())) / 100).toFixed(6);
    const [answer] = await Promise.all(
      Array.from({ length: repeats }, () =>
        this.caller.call('POST', '/v1/reservations', { ...body, operationId: spelt() }),
      ),
    );
    told.atMs.push(Date.now());
    if (answer?.status === 201) told.decision = { status: 'granted', grantedUsd: String(answer.body.grantedUsd) };
    else if (answer?.status === 429) told.decision = { status: 'denied' };
    if (answer?.status !== 201) {
      // As callers do: it backs off.
      await sleep(chance.between(200, 1_000));
      return;
    }
    const where = `/v1/reservations/${spelt()}`;
    if (fate > 0.9) return; // The caller died: its hold runs out.
    await sleep(chance.between(0, 60));
    if (fate > 0.8) {
      if ((await this.caller.insist('POST', `${where}/release`, { tenantId }))?.status === 200) told.released = true;
      told.atMs.push(Date.now());
      return;
    }
    if (fate > 0.75) await sleep(13_000); // Its commit comes after the hold has run out.
    const committed = await this.caller.insist('POST', `${where}/commit`, { tenantId, costUsd });
    if (committed?.status === 200) told.committedUsd = costUsd;
    told.atMs.push(Date.now());
  }

  private async run({ tenantId, chance }: Tenant): Promise<void> {
    const withSandbox = chance.is(0.5);
    const body = {
      tenantId,
      task: withSandbox ? 'Profile this file.' : 'Say something.',
      ...(withSandbox ? { file: { name: 'a.csv', contentBase64: Buffer.from('a\n1\n').toString('base64') } } : {}),
      // One of another version may know of no envelopes.
      limits: {
        timeoutSeconds: 120,
        ...limitsOfRun(chance, { canBeGuaranteed: this.installation.options.older === undefined }),
      },
      sandbox: { windowSeconds: 60 },
    };
    // As the typed client does: asked again under one key until there is an answer, so that a start cut off is gone on with.
    const answer = await this.caller.insist('POST', '/v1/runs', body, { 'idempotency-key': randomUUID() });
    const runId = answer?.status === 202 ? String(answer.body.runId) : undefined;
    if (runId !== undefined) this.runs.push({ tenantId, runId, atMs: Date.now() });
    await sleep(chance.between(2_000, 5_000));
    if (runId === undefined) return;
    // One that takes long is not waited for: but a machine that is slow is not asked for ever more.
    const where = `/v1/runs/${runId}?tenantId=${tenantId}`;
    for (const giveUpMs = Date.now() + runPatienceMs; Date.now() < giveUpMs && !this.isStopping; await sleep(1_000))
      if (((await this.caller.call('GET', where))?.body.status ?? 'running') !== 'running') return;
  }

  /** The same commands once more, later and in another order, past the API. */
  private signalAlongside(tenantId: string, body: ReserveCommand, chance: Chance): void {
    const operationId = chance.is(0.3) ? body.operationId.toUpperCase() : body.operationId;
    // As the API makes it of the body.
    const reserve: ReserveCommand = {
      ...body,
      operationId,
      priceVersion: 'caller',
      kind: 'external.call',
      type: 'reserve',
    };
    delete (reserve as { tenantId?: string }).tenantId;
    const commands: BudgetCommand[] = chance.oneOf([
      [reserve, reserve],
      [{ type: 'commit', operationId }, reserve],
      [reserve, { type: 'reload' }, { type: 'commit', operationId }],
      [
        { type: 'release', operationId: randomUUID() },
        { type: 'commit', operationId: randomUUID() },
      ],
    ]);
    const delayMs = chance.between(0, 3_000);
    const send = async (): Promise<void> => {
      await sleep(delayMs);
      await this.installation.tell(tenantId, commands);
    };
    this.underWay.push(send().catch(() => undefined));
  }
}
