/**
 * A paid step by Temporal's own runtime, with a clock of the test's: what it asks for, what its attempts come to, what is tried again
 * and when, and what its tenant has spent and reserved afterwards. The answers are those of `core`.
 */
import { failing, WorkflowScene, type Call, type Reply } from '../../support/workflow-scene';
import { proxyActivities, sleep } from '@temporalio/workflow';
import type { AttemptEnd, ReserveRequest, WaitForMoney } from '../../../contracts/budget';
import { moneyFreedSignal } from '../../../contracts/messages';
import { formatUsd, parseUsd } from '../../../core/money';
import type { BudgetScope, Grant, PaidStep } from '../../../workflows/budget/paid-step';
import type { PaidStepHooks } from '../../../workflows/budget/paid-step';
import { Budget } from '../../../workflows/budget/with-budget';
import { BudgetModel, commit, release, reserve, type QuotaSpec } from '../../support/budget-model';

/** What the paid activity of an attempt does. */
type Attempt =
  /** It is billed as much. */
  | `costs $${string}`
  /** It is billed as much, its result is kept, and it dies before it returns. */
  | `dies having paid $${string}`
  /** It dies in its call, and nobody knows more. */
  | 'dies'
  /** It dies before its call. */
  | 'dies unclaimed'
  | 'refused the claim'
  /** The provider says no, in a way that may pass; perhaps after so many seconds. */
  | `overloaded${'' | ` for ${number} s`}`
  /** There is no room at the provider. */
  | 'has to wait'
  | 'fails for good'
  /** It fails with a code and nothing else. */
  | 'fails'
  /** It goes on until it is cancelled. */
  | 'goes on';

/** How an authority is: what becomes of requests of either kind, one after the other; the last holds for all that follow. */
type Reserving = 'answers' | 'answers late' | 'dies' | 'is silent' | `conflicts`;

interface World {
  quotas?: QuotaSpec[];
  attempts?: Attempt[];
  quickly?: Reserving[];
  patiently?: Reserving[];
  /** How long after others that wait for the same moment it asks. */
  afterMs?: number;
  /** Whether what was bought has ended when that is first asked. */
  hasEnded?: boolean;
  /** The envelope that its run holds since before a reset. */
  held?: { operationId: string; restUsd: string };
  /** Whether the database has a place for limits of runs. One of the version before has none. */
  hasRunLimits?: boolean;
}

const letters = 'abcdefghijklmnop';

class MoneyScene extends WorkflowScene {
  readonly model: BudgetModel;
  readonly log: string[] = [];
  /** What denied steps waited for, in order. */
  readonly awaited: string[] = [];
  private readonly names = new Map<string, string>();
  private readonly kept = new Map<string, unknown>();
  private readonly attempts: Attempt[];
  private readonly quickly: Reserving[];
  private readonly patiently: Reserving[];
  private readonly afterMs: number | undefined;
  private readonly hasEnded: boolean;
  private readonly held: World['held'];

  constructor({
    quotas = [{ limitUsd: '10' }],
    attempts = ['costs $0.4'],
    quickly = ['answers'],
    patiently = ['answers'],
    afterMs,
    hasEnded = false,
    held,
    hasRunLimits = false,
  }: World) {
    super((call) => this.act(call));
    this.model = new BudgetModel(0, quotas);
    this.attempts = [...attempts];
    this.quickly = [...quickly];
    this.patiently = [...patiently];
    this.afterMs = afterMs;
    this.hasEnded = hasEnded;
    this.held = held;
    this.model.hasRunLimits = hasRunLimits;
  }

  nameOf(operationId: string): string {
    const name = this.names.get(operationId) ?? letters.charAt(this.names.size);
    this.names.set(operationId, name);
    return name;
  }

  note(text: string): void {
    this.log.push(`${this.nowMs} ${text}`);
  }

  /** What is spent and reserved of the first quota. */
  balance(index = 0): string {
    const { spentUsd, reservedUsd } = this.model.balance(index);
    return `$${formatUsd(spentUsd)} spent, $${formatUsd(reservedUsd)} reserved`;
  }

  private act({ type, request }: Call): Reply {
    const { operationId, waiterId, operationIds } = request as Record<string, string> & { operationIds: string[] };
    const name = operationId === undefined ? '' : this.nameOf(operationId);
    this.model.nowMs = this.nowMs;
    switch (type) {
      case 'reserveQuickly':
      case 'reserve': {
        // What only concerns the repetition of a step is no part of what is asked.
        expect(Object.keys(request as object)).not.toEqual(
          expect.arrayContaining([
            expect.stringMatching(/^(maxAttempts|pauseMsMax|onDenied|maxCostUsd|parentRunId|unavailable)$/),
          ]),
        );
        const { tenantId: _tenant, ...asked } = request as ReserveRequest;
        const amounts =
          asked.minimumUsd === undefined ? asked.amountUsd : `${asked.amountUsd}, at least $${asked.minimumUsd}`;
        this.note(`${type === 'reserve' ? 'reserve patiently' : 'reserve'} ${name} $${amounts}`);
        return this.decide(type === 'reserve' ? this.patiently : this.quickly, asked);
      }
      case 'pay':
        return this.pay(operationId as string, this.attempts.length > 1 ? this.attempts.shift() : this.attempts[0]);
      case 'commit':
        this.note(`commit ${name}`);
        return { returns: this.commit(operationId as string) };
      case 'release':
        this.note(`release ${name}`);
        this.model.decide(release(operationId as string));
        return { returns: undefined };
      case 'allowUnreserved':
        this.note(`allow ${name}`);
        return {
          returns: {
            decision: 'granted',
            operationId,
            grantedUsd: '1',
            partial: false,
            expiresAt: '',
            unreserved: true,
          },
        };
      case 'awaitMoney':
        this.note(`wait as ${this.nameOf(waiterId as string)}`);
        this.awaited.push((request as WaitForMoney).resource);
        // As a worker of the version before it says nothing.
        return { returns: this.afterMs === undefined ? undefined : { afterMs: this.afterMs } };
      case 'endWaiting':
        this.note(`end waiting as ${this.nameOf(waiterId as string)}`);
        return { returns: undefined };
      case 'findEnvelope':
        return { returns: this.held ? { open: this.held } : {} };
      case 'settleQuickly':
        this.note(`settle ${operationIds.map((id) => this.nameOf(id)).join(' ')}`);
        // Of several the first may be left.
        return { returns: this.hasEnded ? [] : operationIds.slice(0, 1) };
      case 'confirmSettled':
        this.note(`confirm ${operationIds.map((id) => this.nameOf(id)).join(' ')}`);
        return { returns: undefined };
      default:
        throw new Error(`There is no activity ${type}.`);
    }
  }

  private decide(script: Reserving[], asked: Omit<ReserveRequest, 'tenantId'>): Reply {
    const how = script.length > 1 ? script.shift() : script[0];
    if (how === 'is silent') return { open: true };
    if (how === 'dies') return { lost: true };
    if (how === 'answers late') return { returns: null, afterMs: 700 };
    const { operationId, amountUsd, ...more } = asked;
    const { id, limitUsd, parentId } = asked.runLimit ?? {};
    if (this.model.hasRunLimits && id !== undefined && !this.model.runLimits.some(({ runId }) => runId === id))
      this.model.addRunLimit(id, limitUsd, parentId);
    if (how === 'conflicts') this.model.decide(reserve(operationId, '9.9'));
    const [answer] = this.model.decide(reserve(operationId, amountUsd, more)).answers;
    return { returns: answer };
  }

  private pay(operationId: string, attempt: Attempt = 'costs $0.4'): Reply {
    const name = this.nameOf(operationId);
    this.note(`pay ${name}`);
    const free = (details: Parameters<typeof failing>[1]): Reply => {
      this.model.outcome(operationId, { billed: false });
      this.model.decide(commit(operationId));
      return failing('provider_unavailable', details);
    };
    if (attempt === 'dies unclaimed') return { lost: true, afterMs: 100 };
    if (attempt === 'refused the claim') {
      this.model.decide(release(operationId));
      return failing('claim_refused', { settled: true, retry: true });
    }
    this.model.claim(operationId);
    const [costUsd] = /[\d.]+$/.exec(attempt) ?? [];
    if (attempt.includes('$')) {
      this.model.outcome(operationId, { billed: true, costUsd: parseUsd(costUsd as string) });
      this.kept.set(operationId, { costUsd });
      if (!attempt.startsWith('dies')) this.model.decide(commit(operationId));
      return attempt.startsWith('dies') ? { lost: true, afterMs: 100 } : { returns: { costUsd }, afterMs: 100 };
    }
    switch (attempt) {
      case 'overloaded':
        return free({ settled: true, retry: true });
      case 'has to wait':
        return free({ settled: true, retry: true, waits: true, retryAfterSeconds: 5 });
      case 'fails for good':
        return free({ settled: true, retry: false });
      case 'fails':
        return failing('internal');
      case 'goes on':
        return { open: true };
      case 'dies':
        return { lost: true, afterMs: 100 };
      default:
        return free({ settled: true, retry: true, retryAfterSeconds: Number(attempt.split(' ')[2]) });
    }
  }

  private commit(operationId: string): AttemptEnd {
    const found = this.model.reservations.get(operationId);
    this.model.decide(found?.claimed ? commit(operationId) : release(operationId));
    if (!found?.claimed) return { outcome: 'not_called', costUsd: '0' };
    if (!found.outcome) return { outcome: 'unknown' };
    if (!found.outcome.billed) return { outcome: 'not_billed', costUsd: '0' };
    return { outcome: 'billed', costUsd: formatUsd(found.outcome.costUsd), result: this.kept.get(operationId) };
  }

  /** How the workflow ended, in a line. */
  get end(): string {
    if (!this.ended) return 'goes on';
    if ('result' in this.ended) return JSON.stringify(this.ended.result);
    const { type, message, cause } = this.ended.error as Error & {
      type?: string;
      cause?: { type?: string; message: string };
    };
    return type ?? cause?.type ?? cause?.message ?? message;
  }
}

/** The paid activity. Its proxy can be made within a workflow only. */
const pay = (operationId: string): Promise<{ costUsd: string }> =>
  proxyActivities<{ pay: (request: { operationId: string }) => Promise<{ costUsd: string }> }>({
    startToCloseTimeout: '1 minute',
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
    retry: { maximumAttempts: 1 },
  }).pay({ operationId });

const step = (more: Partial<PaidStep> = {}): PaidStep => ({
  resource: 'llm',
  kind: 'llm.call',
  amountUsd: '1',
  priceVersion: 'p1',
  ttlSeconds: 60,
  ...more,
});

type Program = (budget: Budget, scene: MoneyScene) => Promise<unknown>;
interface Options {
  scope?: Partial<BudgetScope>;
  more?: Partial<PaidStep>;
  hooks?: PaidStepHooks;
  program?: Program;
}

/** Begins a workflow of one paid step, or of what a test says. */
async function begin(world: World, { scope, more, hooks, program }: Options = {}): Promise<MoneyScene> {
  const scene = new MoneyScene(world);
  const oneStep: Program = (budget) =>
    budget.withBudget(step(more), ({ operationId }: Grant) => pay(operationId), hooks);
  await scene.start(() => {
    const budget = new Budget({ tenantId: 'acme', runId: 'run', ...scope });
    budget.onDenial = () => scene.note('denied');
    return (program ?? oneStep)(budget, scene);
  });
  return scene;
}

interface Case extends World, Options {
  what: string;
  log: string;
  end: string;
  balance: string;
}

const unavailable = (then: 'deny' | 'allow'): Partial<BudgetScope> => ({ unavailable: { then, afterMs: 5_000 } });

const cases: Case[] = [
  {
    what: 'reserves, acts, and returns what it bought',
    log: '0 reserve a $1 | 0 pay a',
    end: '{"costUsd":"0.4"}',
    balance: '$0.4 spent, $0 reserved',
  },
  {
    what: 'takes what is left where that is enough',
    quotas: [{ limitUsd: '0.7' }],
    more: { minimumUsd: '0.5' },
    log: '0 reserve a $1, at least $0.5 | 0 pay a',
    end: '{"costUsd":"0.4"}',
    balance: '$0.4 spent, $0 reserved',
  },
  {
    what: 'is refused where less is left than it can use, and nothing is called',
    quotas: [{ limitUsd: '0.7' }],
    more: { minimumUsd: '0.8' },
    log: '0 reserve a $1, at least $0.8 | 0 denied',
    end: 'quota_exceeded',
    balance: '$0 spent, $0 reserved',
  },
  {
    what: 'fails with what a request is rejected for',
    quickly: ['conflicts'],
    log: '0 reserve a $1',
    end: 'operation_conflict',
    balance: '$0 spent, $9.9 reserved',
  },
  {
    what: 'asks patiently, under the same id, where no answer comes at once',
    quickly: ['answers late'],
    log: '0 reserve a $1 | 700 reserve patiently a $1 | 700 pay a',
    end: '{"costUsd":"0.4"}',
    balance: '$0.4 spent, $0 reserved',
  },
  {
    what: 'asks patiently where the worker that asked is gone',
    quickly: ['dies'],
    log: '0 reserve a $1 | 0 reserve patiently a $1 | 0 pay a',
    end: '{"costUsd":"0.4"}',
    balance: '$0.4 spent, $0 reserved',
  },
  {
    what: 'gives up when the authority is silent for longer than its policy lets it, and holds nothing',
    quickly: ['answers late'],
    patiently: ['is silent'],
    scope: unavailable('deny'),
    log: '0 reserve a $1 | 700 reserve patiently a $1 | 5700 release a',
    end: 'authority_unavailable',
    balance: '$0 spent, $0 reserved',
  },
  {
    what: 'goes on without a grant, on record, when its policy lets it',
    quickly: ['answers late'],
    patiently: ['is silent'],
    scope: unavailable('allow'),
    log: '0 reserve a $1 | 700 reserve patiently a $1 | 5700 allow a | 5700 pay a',
    end: '{"costUsd":"0.4"}',
    balance: '$0 spent, $0 reserved',
  },
  {
    what: 'reserves again for each attempt after a pause that doubles, four times in all',
    attempts: ['overloaded'],
    log: '0 reserve a $1 | 0 pay a | 1000 reserve b $1 | 1000 pay b | 3000 reserve c $1 | 3000 pay c | 7000 reserve d $1 | 7000 pay d',
    end: 'provider_unavailable',
    balance: '$0 spent, $0 reserved',
  },
  {
    what: 'pauses for as long as the provider asks',
    attempts: ['overloaded for 30 s', 'costs $0.4'],
    log: '0 reserve a $1 | 0 pay a | 30000 reserve b $1 | 30000 pay b',
    end: '{"costUsd":"0.4"}',
    balance: '$0.4 spent, $0 reserved',
  },
  {
    what: 'does not pause for longer than it may',
    attempts: ['overloaded for 30 s'],
    more: { pauseMsMax: 29_999 },
    log: '0 reserve a $1 | 0 pay a',
    end: 'provider_unavailable',
    balance: '$0 spent, $0 reserved',
  },
  {
    what: 'waits for room at the provider for as long as it takes',
    attempts: [...Array<Attempt>(5).fill('has to wait'), 'costs $0.4'],
    log: Array.from(
      'abcdef',
      (name, index) => `${index * 5_000} reserve ${name} $1 | ${index * 5_000} pay ${name}`,
    ).join(' | '),
    end: '{"costUsd":"0.4"}',
    balance: '$0.4 spent, $0 reserved',
  },
  {
    what: 'waits for room after the last of its attempts as before it',
    attempts: ['overloaded', 'overloaded', 'overloaded', 'has to wait', 'has to wait', 'costs $0.4'],
    log: [0, 1_000, 3_000, 7_000, 12_000, 17_000]
      .map((at, index) => `${at} reserve ${letters.charAt(index)} $1 | ${at} pay ${letters.charAt(index)}`)
      .join(' | '),
    end: '{"costUsd":"0.4"}',
    balance: '$0.4 spent, $0 reserved',
  },
  {
    what: 'reserves again where its claim is refused',
    attempts: ['refused the claim', 'costs $0.4'],
    log: '0 reserve a $1 | 0 pay a | 1000 reserve b $1 | 1000 pay b',
    end: '{"costUsd":"0.4"}',
    balance: '$0.4 spent, $0 reserved',
  },
  {
    what: 'is not tried again after what is final',
    attempts: ['fails for good'],
    log: '0 reserve a $1 | 0 pay a',
    end: 'provider_unavailable',
    balance: '$0 spent, $0 reserved',
  },
  {
    what: 'charges the grant of an attempt that failed without a word on its cost, and is not tried again',
    attempts: ['fails'],
    log: '0 reserve a $1 | 0 pay a | 0 commit a',
    end: 'internal',
    balance: '$1 spent, $0 reserved',
  },
  {
    what: 'charges the grant of an attempt that was lost in its call, and reserves again',
    attempts: ['dies', 'costs $0.4'],
    log: '0 reserve a $1 | 0 pay a | 100 commit a | 1100 reserve b $1 | 1100 pay b',
    end: '{"costUsd":"0.4"}',
    balance: '$1.4 spent, $0 reserved',
  },
  {
    what: 'charges nothing for an attempt that was lost before its call',
    attempts: ['dies unclaimed', 'costs $0.4'],
    log: '0 reserve a $1 | 0 pay a | 100 commit a | 1100 reserve b $1 | 1100 pay b',
    end: '{"costUsd":"0.4"}',
    balance: '$0.4 spent, $0 reserved',
  },
  {
    what: 'goes on with what a lost attempt had bought, and does not buy it again',
    attempts: ['dies having paid $0.3', 'costs $0.4'],
    log: '0 reserve a $1 | 0 pay a | 100 commit a',
    end: '{"costUsd":"0.3"}',
    balance: '$0.3 spent, $0 reserved',
  },
];

describe('a paid step', () => {
  afterEach(() => jest.restoreAllMocks());

  test.each(cases)('$what', async ({ log, end, balance, scope, more, ...world }) => {
    const scene = await begin(world, { ...(scope ? { scope } : {}), ...(more ? { more } : {}) });
    await scene.finish();
    expect({ log: scene.log.join(' | '), end: scene.end, balance: scene.balance() }).toEqual({ log, end, balance });
  });

  test('is told what it was granted, and how far each attempt came', async () => {
    const lines: unknown[] = [];
    const grants: Grant[] = [];
    const scene = await begin(
      { quotas: [{ limitUsd: '0.7' }], attempts: ['overloaded', 'costs $0.4'] },
      {
        program: (budget, scene) => {
          budget.onStep = ({ operationId, state, heldUsd }) =>
            lines.push([scene.nameOf(operationId), state, ...(heldUsd === undefined ? [] : [heldUsd])].join(' '));
          return budget.withBudget(step({ minimumUsd: '0.5' }), (grant) => {
            grants.push(grant);
            return pay(grant.operationId);
          });
        },
      },
    );
    await scene.finish();
    expect(lines).toEqual(['a asks', 'a holds 0.7', 'a ended', 'b asks', 'b holds 0.7', 'b ended']);
    expect(grants).toMatchObject([{ grantedUsd: '0.7', partial: true }, { partial: true }]);
  });

  test('finds out what became of a lost attempt before it is charged, and of no other', async () => {
    const scene = await begin(
      { attempts: ['overloaded', 'dies', 'costs $0.4'] },
      {
        program: (budget, scene) =>
          budget.withBudget(step(), ({ operationId }) => pay(operationId), {
            beforeCommit: async (operationId) => scene.note(`look after ${scene.nameOf(operationId)}`),
          }),
      },
    );
    await scene.finish();
    expect(scene.log.join(' | ')).toContain('1000 pay b | 1100 look after b | 1100 commit b');
    expect(scene.log.join(' | ')).not.toContain('look after a');
  });

  test('is planned again at the prices of now after each pause, and not before the first attempt', async () => {
    let priceUsd = 1;
    const planAgain = async () => step({ amountUsd: `${(priceUsd += 1)}` });
    const scene = await begin({ attempts: ['overloaded', 'dies', 'costs $0.4'] }, { hooks: { planAgain } });
    await scene.finish();
    expect(scene.log.filter((line) => line.includes('reserve'))).toEqual([
      '0 reserve a $1',
      '1000 reserve b $2',
      '3100 reserve c $3',
    ]);
  });
});

describe('a paid step that is denied for what others hold', () => {
  /** Another holds so much of a dollar, and gives it back after a while. */
  const beside =
    (heldUsd: string, more: Partial<PaidStep> = {}): Required<Options>['program'] =>
    (budget, scene) => {
      scene.model.decide(reserve('other', heldUsd));
      return budget.withBudget({ ...step(), ...more }, ({ operationId }) => pay(operationId));
    };
  const comesBack = async (scene: MoneyScene): Promise<void> => {
    scene.model.decide(release('other'));
    await scene.signal(moneyFreedSignal.name);
  };
  const asks = (scene: MoneyScene): string[] => scene.log.filter((line) => line.includes('reserve'));

  test('waits for that, and asks by its place in the line', async () => {
    const scene = await begin({ quotas: [{ limitUsd: '1' }] }, { program: beside('0.5') });
    await scene.moveTo(1_500);
    await comesBack(scene);
    await scene.finish();
    expect(asks(scene)).toEqual(['0 reserve a $1', '1500 reserve b $1']);
    expect(scene.end).toBe('{"costUsd":"0.4"}');
  });

  test('fails after fifteen seconds, or as many as it is told to wait', async () => {
    const patient = await begin({ quotas: [{ limitUsd: '1' }] }, { program: beside('0.5') });
    await patient.moveTo(14_999);
    expect([patient.end, asks(patient).length]).toEqual(['goes on', 1]);
    await patient.finish();
    expect([patient.end, asks(patient)]).toEqual(['quota_exceeded', ['0 reserve a $1', '15000 reserve b $1']]);
    const scope = { waitForHoldsSeconds: 0 };
    const impatient = await begin({ quotas: [{ limitUsd: '1' }] }, { scope, program: beside('0.5') });
    expect([impatient.end, asks(impatient).length]).toEqual(['quota_exceeded', 1]);
  });

  test('fails at once where its money is spent, or where it says so itself', async () => {
    const spent = await begin({ quotas: [{ limitUsd: '0.5' }] }, { program: beside('0.2') });
    expect([spent.end, asks(spent).length]).toEqual(['quota_exceeded', 1]);
    const own = await begin({ quotas: [{ limitUsd: '1' }] }, { program: beside('0.5', { onDenied: 'fail' }) });
    expect([own.end, asks(own).length]).toEqual(['quota_exceeded', 1]);
  });

  test('is waited for by money that is held for a step to come, too, also where its steps wait for as long as it takes', async () => {
    for (const scope of [{}, { onDenied: 'wait' as const }]) {
      const program: Program = async (budget, scene) => {
        scene.model.decide(reserve('other', '0.5'));
        return (await budget.hold(step({ amountUsd: '1' })))?.grantedUsd ?? 'nothing';
      };
      const scene = await begin({ quotas: [{ limitUsd: '1' }] }, { scope, program });
      await scene.moveTo(1_500);
      await comesBack(scene);
      await scene.finish();
      expect([scene.end, asks(scene)]).toEqual(['"1"', ['0 reserve a $1', '1500 reserve b $1']]);
      const inVain = await begin({ quotas: [{ limitUsd: '1' }] }, { scope, program });
      await inVain.finish();
      expect([inVain.end, inVain.nowMs]).toEqual(['"nothing"', 15_000]);
    }
    const spent = await begin(
      { quotas: [{ limitUsd: '0.5' }] },
      { program: async (budget) => (await budget.hold(step({ amountUsd: '1' })))?.grantedUsd ?? 'nothing' },
    );
    expect([spent.end, spent.nowMs]).toEqual(['"nothing"', 0]);
  });

  test('takes less than it asks for after five seconds, and no sooner', async () => {
    const program = beside('0.5', { minimumUsd: '0.2' });
    const scene = await begin({ quotas: [{ limitUsd: '1' }] }, { program });
    await scene.finish();
    expect(asks(scene).map((line) => line.split(' ')[0])).toEqual(['0', '5000']);
    expect(scene.end).toBe('{"costUsd":"0.4"}');
  });
});

describe("a paid step that its run's limit refuses for what others hold", () => {
  const world: World = { hasRunLimits: true };
  /** Another holds so much of a run that may cost $1. */
  const beside =
    (heldUsd: string, more: Partial<PaidStep> = {}): Program =>
    (budget, scene) => {
      scene.model.addRunLimit('run', '1');
      scene.model.decide(reserve('other', heldUsd, { runLimit: { id: 'run' } }));
      return budget.withBudget({ ...step({ amountUsd: '0.6' }), ...more }, ({ operationId }) => pay(operationId));
    };
  const asks = (scene: MoneyScene): string[] => scene.log.filter((line) => line.includes('reserve'));
  const asked = (scene: MoneyScene): number[] => asks(scene).map((line) => Number(line.split(' ')[0]));

  test('asks again, under a new id, until that has come back', async () => {
    const scene = await begin(world, { program: beside('0.5') });
    await scene.moveTo(2_999);
    scene.model.decide(release('other'));
    await scene.finish();
    expect(asks(scene)).toEqual(['0 reserve a $0.6', '1000 reserve b $0.6', '3000 reserve c $0.6']);
    expect(scene.end).toBe('{"costUsd":"0.4"}');
    expect(scene.model.runLimits).toMatchObject([{ spentUsd: parseUsd('0.4'), reservedUsd: 0n }]);
  });

  test.each<[string, Partial<BudgetScope>, number[]]>([
    ['after fifteen seconds', {}, [0, 1_000, 3_000, 7_000, 11_000, 15_000]],
    ['no later where it waits for money of its tenant', { onDenied: 'wait' }, [0, 1_000, 3_000, 7_000, 11_000, 15_000]],
    ['after as many as it is told to wait', { waitForHoldsSeconds: 2 }, [0, 1_000, 2_000]],
    ['at once where it is told not to wait', { waitForHoldsSeconds: 0 }, [0]],
  ])('fails %s', async (_when, scope, at) => {
    const scene = await begin(world, { scope, program: beside('0.5') });
    await scene.finish();
    expect([scene.end, asked(scene)]).toEqual(['run_limit_exceeded', at]);
  });

  test('fails at once where that is more than could come back, or it says so itself', async () => {
    const beyond = await begin(world, { program: beside('0.5', { amountUsd: '1.1' }) });
    const own = await begin(world, { program: beside('0.5', { onDenied: 'fail' }) });
    expect([beyond, own].map((scene) => [scene.end, asked(scene)])).toEqual(Array(2).fill(['run_limit_exceeded', [0]]));
  });

  test('does not wait for what its own workflow holds for later, until that is in use or given back', async () => {
    const scene = await begin(world, {
      scope: { maxCostUsd: '1' },
      program: async (budget) => {
        const buys = (amountUsd: string, hooks: PaidStepHooks = {}) =>
          budget
            .withBudget(
              step({ amountUsd }),
              async ({ operationId }) => {
                await sleep(500);
                return pay(operationId);
              },
              hooks,
            )
            .catch((error: { type?: string }) => error.type);
        const held = await budget.hold(step({ amountUsd: '0.5' }));
        const refused = await buys('0.6');
        return [refused, ...(await Promise.all([buys('0.5', { held }), buys('0.6')]))];
      },
    });
    await scene.finish();
    expect(asks(scene)).toEqual(['0 reserve a $0.5', '0 reserve b $0.6', '0 reserve c $0.6', '1000 reserve d $0.6']);
    expect(scene.end).toBe('["run_limit_exceeded",{"costUsd":"0.4"},{"costUsd":"0.4"}]');
    const open = await begin(world, {
      program: async (budget, scene) => {
        let open = '';
        budget.keepsOpen = () => [open];
        scene.model.addRunLimit('run', '1');
        await budget.withBudget(step({ amountUsd: '0.5' }), ({ operationId }) => Promise.resolve((open = operationId)));
        return budget.withBudget(step({ amountUsd: '0.6' }), () => Promise.resolve('never'));
      },
    });
    expect([open.end, open.nowMs]).toEqual(['run_limit_exceeded', 0]);
  });
});

describe('a paid step that waits for money', () => {
  afterEach(() => jest.restoreAllMocks());
  const waiting: Options = { scope: { onDenied: 'wait' } };
  const day = 86_400_000;
  const spend = (scene: MoneyScene, amountUsd: string): void => {
    scene.model.decide(reserve('other', amountUsd));
    scene.model.claim('other');
    scene.model.outcome('other', { billed: true, costUsd: parseUsd(amountUsd) });
    scene.model.decide(commit('other'));
  };

  test('holds none, asks anew when it is told of some, and leaves the line', async () => {
    const scene = await begin({ quotas: [{ limitUsd: '0.5' }] }, waiting);
    expect(scene.balance()).toBe('$0 spent, $0 reserved');
    await scene.moveTo(60_000);
    // Somebody else was faster: it waits on, under the first id.
    await scene.signal(moneyFreedSignal.name);
    await scene.moveTo(90_000);
    Object.assign(scene.model.quotas[0] as object, { limitUsd: parseUsd('5') });
    await scene.signal(moneyFreedSignal.name);
    await scene.finish();
    expect(scene.log.filter((line) => !line.includes('denied')).join(' | ')).toBe(
      '0 reserve a $1 | 0 wait as a | 60000 reserve b $1 | 60000 wait as a | 90000 reserve c $1 | 90000 end waiting as a | 90000 pay c',
    );
    expect([scene.end, scene.balance()]).toEqual(['{"costUsd":"0.4"}', '$0.4 spent, $0 reserved']);
  });

  test('asks again at its time although every signal is lost: when its period ends, and every six hours until then', async () => {
    const scene = await begin(
      { quotas: [{ limitUsd: '1', period: 'day' }], attempts: ['costs $0.4'] },
      {
        ...waiting,
        program: async (budget, scene) => {
          spend(scene, '1');
          await sleep('1 hour');
          return budget.withBudget(step(), ({ operationId }) => pay(operationId));
        },
      },
    );
    await scene.finish();
    const asked = scene.log.filter((line) => line.includes('reserve')).map((line) => Number(line.split(' ')[0]));
    expect(asked).toEqual([...[1, 7, 13, 19].map((hours) => (hours * day) / 24), day + 100]);
    expect(scene.end).toBe('{"costUsd":"0.4"}');
  });

  test('asks in its turn at a moment that others wait for too', async () => {
    const scene = await begin(
      { quotas: [{ limitUsd: '1', period: 'day' }], afterMs: 4_000 },
      {
        ...waiting,
        program: async (budget, scene) => {
          spend(scene, '1');
          await sleep('20 hours');
          return budget.withBudget(step(), ({ operationId }) => pay(operationId));
        },
      },
    );
    await scene.finish();
    const asked = scene.log.filter((line) => line.includes('reserve')).map((line) => Number(line.split(' ')[0]));
    expect(asked).toEqual([(20 * day) / 24, day + 4_100]);
  });

  test('asks the platform after a minute, then after pauses that double', async () => {
    const quotas: QuotaSpec[] = [{ limitUsd: '0.5', scope: 'platform', scopeId: '*' }];
    const scene = await begin({ quotas }, waiting);
    await scene.moveTo(15 * 60_000);
    const asked = scene.log.filter((line) => line.includes('reserve')).map((line) => Number(line.split(' ')[0]));
    expect(asked).toEqual([0, 60_000, 180_000, 420_000, 900_000]);
    await scene.moveTo(4 * day);
    const [before, last] = scene.log.filter((line) => line.includes('reserve')).slice(-2);
    expect(parseInt(last as string) - parseInt(before as string)).toBe(day / 4);
  });

  test('is planned again at the prices of now', async () => {
    const planAgain = async () => step({ amountUsd: '0.5' });
    const scene = await begin({ quotas: [{ limitUsd: '0.5' }] }, { ...waiting, hooks: { planAgain } });
    await scene.moveTo(1_000);
    await scene.signal(moneyFreedSignal.name);
    await scene.finish();
    expect(scene.log.join(' | ')).toContain('1000 reserve b $0.5 | 1000 end waiting as a | 1000 pay b');
  });

  test('does not where it says so itself', async () => {
    const scene = await begin({ quotas: [{ limitUsd: '0.5' }] }, { ...waiting, more: { onDenied: 'fail' } });
    expect([scene.end, scene.log.length]).toEqual(['quota_exceeded', 2]);
  });

  test('has the rest of its run put to rest meanwhile', async () => {
    const scene = await begin(
      { quotas: [{ limitUsd: '0.5' }] },
      {
        ...waiting,
        program: (budget, scene) => {
          budget.whileWaiting = async (wait) => {
            scene.note('rest');
            await wait();
            scene.note('go on');
          };
          return budget.withBudget(step(), ({ operationId }) => pay(operationId));
        },
      },
    );
    await scene.moveTo(1_000);
    Object.assign(scene.model.quotas[0] as object, { limitUsd: parseUsd('5') });
    await scene.signal(moneyFreedSignal.name);
    await scene.finish();
    expect(scene.log.join(' | ')).toMatch(/0 rest \| 0 wait as a \| 1000 go on \| 1000 reserve b/);
  });

  test('leaves the line when it is cancelled, and asks no more', async () => {
    const scene = await begin({ quotas: [{ limitUsd: '0.5' }] }, waiting);
    await scene.moveTo(60_000);
    await scene.cancel();
    expect(scene.log.at(-1)).toBe('60000 end waiting as a');
    expect([scene.end, scene.balance()]).toEqual(['cancelled', '$0 spent, $0 reserved']);
  });
});

describe('a step that asks people for money', () => {
  const asking: BudgetScope = { tenantId: 'acme', onDenied: 'wait', askDays: 3 };
  const cuttable = { minimumUsd: '0.5' };
  const reserves = (scene: MoneyScene): string =>
    scene.log.filter((line) => /reserve|denied|pay/.test(line)).join(' | ');
  const lift = async (scene: MoneyScene, limitUsd: string): Promise<void> => {
    Object.assign(scene.model.quotas[0] as object, { limitUsd: parseUsd(limitUsd) });
    await scene.signal(moneyFreedSignal.name);
  };
  /** What each of two steps was granted, and whether that is less than planned. */
  const twoSteps: Program = async (budget) => {
    const granted: string[] = [];
    for (const more of [{ amountUsd: '0.4' }, cuttable]) {
      await budget.withBudget(step(more), ({ operationId, grantedUsd, partial }) => {
        granted.push(`${grantedUsd}${partial ? ' of more' : ''}`);
        return pay(operationId);
      });
    }
    return granted;
  };

  test('is not cut by a limit that they could lift: granted too little it asks again, and buys nothing until all of it is there', async () => {
    const scene = await begin({ quotas: [{ limitUsd: '0.4' }] }, { scope: asking, more: cuttable });
    await lift(scene, '0.6');
    await scene.moveTo(60_000);
    await lift(scene, '0.99');
    await scene.moveTo(61_000);
    await lift(scene, '1');
    await scene.finish();
    expect(reserves(scene)).toBe(
      '0 reserve a $1 | 0 denied | 0 reserve b $1 | 0 denied | 60000 reserve c $1 | 60000 denied | 61000 reserve d $1 | 61000 pay d',
    );
  });

  test('is cut by the limit of its run, which nobody is asked to lift', async () => {
    const world: World = { quotas: [{ limitUsd: '10' }], hasRunLimits: true };
    const scene = await begin(world, { scope: { ...asking, maxCostUsd: '1.1' }, program: twoSteps });
    await scene.finish();
    expect([scene.end, reserves(scene)]).toEqual([
      '["0.4","0.7 of more"]',
      '0 reserve a $0.4 | 0 pay a | 100 reserve b $0.7 | 100 pay b',
    ]);
  });

  test('is cut by what others of its run have spent of that, once the books have refused all of it', async () => {
    const world: World = { quotas: [{ limitUsd: '10' }], hasRunLimits: true };
    const program: Program = async (budget, scene) => {
      await budget.withBudget(step({ amountUsd: '0.4' }), ({ operationId }) => pay(operationId));
      const [limit] = scene.model.runLimits;
      scene.model.decide(reserve('other', '0.5', { runLimit: { id: limit?.runId as string } }));
      return budget.withBudget(step(cuttable), ({ grantedUsd, partial }) => Promise.resolve([grantedUsd, partial]));
    };
    const scene = await begin(world, { scope: { ...asking, maxCostUsd: '1.5' }, program });
    await scene.finish();
    expect([scene.end, reserves(scene)]).toEqual([
      '["0.6",true]',
      '0 reserve a $0.4 | 0 pay a | 100 reserve b $1 | 100 reserve c $1, at least $0.5',
    ]);
  });

  test('is cut by what the platform has left, which nobody of its tenant can lift', async () => {
    const quotas: QuotaSpec[] = [{ limitUsd: '0.6', scope: 'platform', scopeId: '*' }];
    const scene = await begin({ quotas }, { scope: asking, more: cuttable });
    await scene.finish();
    expect(reserves(scene)).toMatch(/^0 reserve a \$1 \| 0 denied \| \d+ reserve b \$1, at least \$0\.5 \| \d+ pay b$/);
  });

  test('that only waits is cut as ever', async () => {
    const scene = await begin(
      { quotas: [{ limitUsd: '0.6' }] },
      { scope: { ...asking, askDays: undefined }, more: cuttable },
    );
    await scene.finish();
    expect(reserves(scene)).toBe('0 reserve a $1, at least $0.5 | 0 pay a');
  });
});

describe('a step of a run with money of its own', () => {
  afterEach(() => jest.restoreAllMocks());
  const asks = (scene: MoneyScene): number[] =>
    scene.log.filter((line) => line.includes('reserve')).map((line) => Number(line.split(' ')[0]));
  const waits = { scope: { onDenied: 'wait' } } as const;
  const limits = (llmUsd: string, e2bUsd: string): QuotaSpec[] => [
    { resourceType: 'llm', limitUsd: llmUsd },
    { resourceType: 'e2b', limitUsd: e2bUsd },
    { resourceType: 'all', limitUsd: '150' },
  ];
  const raise = async (scene: MoneyScene, index: number): Promise<void> => {
    Object.assign(scene.model.quotas[index] as object, { limitUsd: parseUsd('100') });
    await scene.signal(moneyFreedSignal.name);
  };
  const envelope: Program = async (budget) => {
    await budget.guarantee('60', ['llm', 'e2b']);
    return 'held';
  };

  test('that waits for it waits for the limit that bound, one after the other', async () => {
    const scene = await begin({ quotas: limits('40', '30') }, { ...waits, program: envelope });
    await scene.moveTo(1_000);
    await raise(scene, 1);
    expect([scene.end, scene.awaited]).toEqual(['goes on', ['e2b', 'llm']]);
    await raise(scene, 0);
    await scene.finish();
    expect([scene.end, asks(scene)]).toEqual(['"held"', [0, 1_000, 1_000]]);
  });

  test('goes on after a reset with what its run holds, and asks for nothing beside it', async () => {
    const scene = new MoneyScene({ held: { operationId: 'held', restUsd: '2' } });
    scene.model.decide(reserve('held', '2', { envelopeOf: ['llm', 'e2b'], kind: 'envelope' }));
    const told: object[] = [];
    await scene.start(async () => {
      const budget = new Budget({ tenantId: 'acme', runId: 'run' });
      budget.onStep = (line) => void told.push(line);
      await budget.guarantee('60', ['llm', 'e2b']);
      await budget.withBudget(step(), ({ operationId }) => pay(operationId));
      await budget.settled();
      return budget.envelopeId;
    });
    await scene.finish();
    expect(scene.end).toBe('"held"');
    expect(told[0]).toMatchObject({ operationId: 'held', kind: 'envelope', state: 'holds', heldUsd: '2' });
    expect(scene.log.filter((line) => / (reserve|settle) /.test(line))).toEqual([
      '0 reserve a $1',
      `100 settle ${scene.nameOf('held')} a`,
    ]);
  });

  test('that waits for it does not ask without a pause, however often it is woken in vain', async () => {
    const scene = await begin({ quotas: limits('100', '50') }, { ...waits, program: envelope });
    for (let atMs = 500; atMs <= 20_000; atMs += 500) {
      await scene.moveTo(atMs);
      await scene.signal(moneyFreedSignal.name);
    }
    expect(asks(scene)).toEqual([0, 500, 1_000, 1_500, 2_500, 4_500, 8_500, 16_500]);
  });

  test('names its resource as any other, which who knows no envelopes decides by the limits', async () => {
    const sent: ReserveRequest[] = [];
    const scene = new MoneyScene({ quotas: limits('100', '100') });
    const decide = scene.model.decide.bind(scene.model);
    jest.spyOn(scene.model, 'decide').mockImplementation((...commands) => {
      sent.push(...(commands as unknown as ReserveRequest[]));
      return decide(...commands);
    });
    await scene.start(async () => {
      const budget = new Budget({ tenantId: 'acme', runId: 'run' });
      await budget.guarantee('60', ['llm', 'e2b', 'tool']);
      await budget.withBudget(step(), ({ operationId }) => pay(operationId));
      await budget.withBudget(step({ resource: 'tool' }), ({ operationId }) => pay(operationId));
    });
    await scene.finish();
    const asked = sent.filter(({ amountUsd }) => amountUsd !== undefined);
    expect(asked).toMatchObject([
      { resource: 'all', ofResource: 'llm', envelopeOf: ['llm', 'e2b', 'tool'] },
      { resource: 'llm', parentOperationId: asked[0]?.operationId, orBeyond: true },
      { resource: 'e2b', isTool: true, parentOperationId: asked[0]?.operationId, orBeyond: true },
    ]);
    for (const part of asked.slice(1)) expect(part).not.toHaveProperty('ofResource');
  });

  test('asks again by itself for what may come back to that, in pauses that double', async () => {
    let part = '';
    const program: Program = async (budget) => {
      await budget.guarantee('1', ['llm', 'e2b']);
      const window = step({ resource: 'e2b', amountUsd: '0.5', ttlSeconds: 86_400 });
      await budget.withBudget(window, async ({ operationId }) => void (part = operationId));
      return budget.withBudget(step({ amountUsd: '0.6' }), ({ operationId }) => pay(operationId));
    };
    const scene = await begin({ quotas: limits('1', '1') }, { ...waits, program });
    await scene.moveTo(20_000);
    expect(asks(scene)).toEqual([0, 0, 0, 2_000, 6_000, 14_000]);
    // Its sandbox pauses: nobody is told of what goes back to the envelope.
    scene.model.decide(release(part));
    await scene.finish();
    expect([scene.end, asks(scene).at(-1)]).toEqual(['{"costUsd":"0.4"}', 30_000]);
  });
});

describe('a paid step that is cancelled', () => {
  afterEach(() => jest.restoreAllMocks());

  test('while it asks gives its request up, also where the answer is on its way', async () => {
    const scene = await begin({ quickly: ['answers late'], patiently: ['is silent'] });
    await scene.moveTo(1_000);
    await scene.cancel();
    expect(scene.log.join(' | ')).toBe('0 reserve a $1 | 700 reserve patiently a $1 | 1000 release a');
    expect(scene.end).toBe('cancelled');
    // The release overtook the reserve, and leaves a tombstone.
    const [operationId] = [...scene.model.reservations.keys()];
    const late = scene.model.decide(reserve(operationId as string, '1'));
    expect([late.answers, scene.balance()]).toMatchObject([[{ code: 'operation_released' }], '$0 spent, $0 reserved']);
  });

  test('while it asks within its task does so too', async () => {
    const scene = await begin({ quickly: ['is silent'] });
    await scene.cancel();
    expect([scene.log.join(' | '), scene.end]).toEqual(['0 reserve a $1 | 0 release a', 'cancelled']);
  });

  test('in its call is charged, and not tried again', async () => {
    const scene = await begin({ attempts: ['goes on', 'costs $0.4'] });
    await scene.moveTo(50);
    expect(scene.balance()).toBe('$0 spent, $1 reserved');
    await scene.cancel();
    expect(scene.log.join(' | ')).toBe('0 reserve a $1 | 0 pay a | 50 commit a');
    expect([scene.end, scene.balance()]).toEqual(['cancelled', '$1 spent, $0 reserved']);
  });

  test('between two attempts ends there', async () => {
    const scene = await begin({ attempts: ['overloaded'] });
    await scene.moveTo(500);
    await scene.cancel();
    await scene.moveTo(100_000);
    expect([scene.log.join(' | '), scene.end]).toEqual(['0 reserve a $1 | 0 pay a', 'cancelled']);
  });
});

describe('the own limit of a run', () => {
  afterEach(() => jest.restoreAllMocks());
  const limited = (program: Program): Options => ({ scope: { maxCostUsd: '1' }, program });
  const buy = (budget: Budget, amountUsd: string, more: Partial<PaidStep> = {}) =>
    budget.withBudget(step({ amountUsd, ...more }), async ({ operationId }) => {
      const { costUsd } = await pay(operationId);
      budget.noteCost(operationId, costUsd);
      return costUsd;
    });

  const sideBySide: Program = (budget) =>
    Promise.all(
      ['0.6', '0.6'].map((amountUsd) => buy(budget, amountUsd).catch((error: { type?: string }) => error.type)),
    );

  test('holds for steps side by side together: one waits for what the other gives back', async () => {
    const scene = await begin({}, limited(sideBySide));
    await scene.finish();
    expect([scene.end, scene.log.join(' | ')]).toEqual([
      '["0.4","0.4"]',
      '0 denied | 0 reserve a $0.6 | 0 pay a | 1000 reserve b $0.6 | 1000 pay b',
    ]);
  });

  test('refuses a step at once where what the other may cost leaves too little', async () => {
    const spent = await begin({ attempts: ['costs $0.5'] }, limited(sideBySide));
    await spent.finish();
    expect([spent.end, spent.nowMs]).toEqual(['["0.5","run_limit_exceeded"]', 1_000]);
    const impatient = await begin({}, { scope: { maxCostUsd: '1', waitForHoldsSeconds: 0 }, program: sideBySide });
    await impatient.finish();
    expect(impatient.log.join(' | ')).toBe('0 reserve a $0.6 | 0 pay a');
  });

  test('gives back what a step did not cost', async () => {
    const scene = await begin(
      {},
      limited(async (budget) => [await buy(budget, '0.6'), await buy(budget, '0.6'), budget.counted.spentUsd]),
    );
    await scene.finish();
    expect(scene.end).toBe('["0.4","0.4","0.8"]');
  });

  test('shrinks a step to what is left, where that is enough', async () => {
    const scene = await begin(
      {},
      limited(async (budget) => [await buy(budget, '0.6'), await buy(budget, '0.8', { minimumUsd: '0.5' })]),
    );
    await scene.finish();
    expect(scene.log.filter((line) => line.includes('reserve'))).toEqual([
      '0 reserve a $0.6',
      '100 reserve b $0.6, at least $0.5',
    ]);
  });

  test('is not touched by what was rejected, denied, released or refused its claim', async () => {
    const scene = await begin(
      {
        quotas: [{ limitUsd: '0.9' }],
        attempts: ['refused the claim', 'fails for good'],
        quickly: ['conflicts', 'answers'],
      },
      limited(async (budget) => {
        const ends = [];
        for (const amountUsd of ['0.7', '1', '0.8'])
          ends.push(await buy(budget, amountUsd).catch((error: Error) => error.message));
        return budget.counted.spentUsd;
      }),
    );
    await scene.finish();
    expect(scene.end).toBe('"0"');
  });

  test('counts the grant of an attempt whose cost nobody knows', async () => {
    const scene = await begin(
      { attempts: ['dies', 'costs $0.4'] },
      limited(async (budget) => [await buy(budget, '0.4'), budget.counted.spentUsd]),
    );
    await scene.finish();
    expect(scene.end).toBe('["0.4","0.8"]');
  });

  test('is not touched by an attempt that was lost before its call', async () => {
    const scene = await begin(
      { attempts: ['dies unclaimed', 'costs $0.4'] },
      limited(async (budget) => [await buy(budget, '0.8'), budget.counted.spentUsd]),
    );
    await scene.finish();
    expect(scene.end).toBe('["0.4","0.4"]');
  });

  test('counts what a lost attempt had bought at its cost', async () => {
    const scene = await begin(
      { attempts: ['dies having paid $0.3'] },
      limited(async (budget) => {
        await budget.withBudget(step({ amountUsd: '0.8' }), ({ operationId }) => pay(operationId));
        return budget.counted.spentUsd;
      }),
    );
    await scene.finish();
    expect(scene.end).toBe('"0.3"');
  });

  test('goes on where the execution before had come to, or anew', async () => {
    const scene = await begin(
      {},
      limited(async (budget) => {
        budget.noteBought('earlier', '0.9');
        const first = await buy(budget, '0.2').catch((error: Error & { type?: string }) => error.type);
        budget.countFrom('run', { spentUsd: '0.5' });
        return [first, await buy(budget, '0.5'), budget.counted.spentUsd];
      }),
    );
    await scene.finish();
    expect(scene.end).toBe('["run_limit_exceeded","0.4","0.9"]');
  });

  test('is decided with the quotas where the books have it: what was committed counts, and nothing need be noted', async () => {
    const scene = await begin(
      { hasRunLimits: true, attempts: ['costs $0.1', 'dies unclaimed', 'costs $0.1', 'costs $0.4'] },
      limited(async (budget) => {
        const pays = (amountUsd: string) =>
          budget
            .withBudget(step({ amountUsd }), ({ operationId }) => pay(operationId))
            .catch((error: Error & { type?: string }) => error.type);
        return [await pays('1'), await pays('0.9'), await Promise.all([pays('0.5'), pays('0.5')])];
      }),
    );
    await scene.finish();
    expect(scene.end).toBe('[{"costUsd":"0.1"},{"costUsd":"0.1"},[{"costUsd":"0.4"},"run_limit_exceeded"]]');
    expect(scene.model.runLimits).toEqual([
      { runId: 'run', ancestorIds: [], limitUsd: parseUsd('1'), spentUsd: parseUsd('0.6'), reservedUsd: 0n },
    ]);
  });

  test('stays what it was where one execution goes on for another, and counts what that counted itself', async () => {
    const ends = async (counted: { spentUsd: string; isInBooks?: boolean }) => {
      const scene = await begin(
        { hasRunLimits: true },
        limited(async (budget) => {
          budget.countFrom('turn', counted);
          return [await buy(budget, '0.5').catch((error: { type?: string }) => error.type), budget.counted];
        }),
      );
      await scene.finish();
      return [scene.end, scene.model.runLimits.map(({ runId }) => runId)];
    };
    expect(await ends({ spentUsd: '0.9', isInBooks: true })).toEqual([
      '["0.4",{"spentUsd":"1.3","isInBooks":true}]',
      ['turn'],
    ]);
    expect(await ends({ spentUsd: '0.9' })).toEqual([
      '["run_limit_exceeded",{"spentUsd":"0.9","isInBooks":false}]',
      [],
    ]);
  });
});

describe('the end of a run', () => {
  afterEach(() => jest.restoreAllMocks());

  test('reads back once that each of its operations has ended, but for those that stay open', async () => {
    const scene = await begin(
      { attempts: ['overloaded', 'costs $0.4'] },
      {
        program: async (budget) => {
          let open = '';
          await budget.withBudget(step(), ({ operationId }) => pay((open = operationId)));
          await budget.settled([open]);
          await budget.withBudget(step(), ({ operationId }) => pay(operationId));
          await budget.settled();
          await budget.settled();
        },
      },
    );
    await scene.finish();
    expect(scene.log.filter((line) => /settle|confirm/.test(line))).toEqual([
      '1100 settle a',
      '1100 confirm a',
      '1200 settle b c',
      '1200 confirm b',
    ]);
  });

  test('asks no second time of what had ended when it first asked', async () => {
    const scene = await begin(
      { hasEnded: true },
      {
        program: async (budget) => {
          await budget.withBudget(step(), ({ operationId }) => pay(operationId));
          await budget.settled();
        },
      },
    );
    await scene.finish();
    expect(scene.log.filter((line) => /settle|confirm/.test(line))).toEqual(['100 settle a']);
  });
});
