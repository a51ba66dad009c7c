/**
 * The sandbox of a run by Temporal's own runtime, with a clock of the test's: its windows, its pauses, its end, and what becomes of it
 * when the provider or the money fails. What happens is told in seconds.
 */
import { failing, WorkflowScene, type Call, type Reply } from '../../support/workflow-scene';
import type { AgentRunInput, CarriedSandbox } from '../../../contracts/messages';
import type { ReserveRequest } from '../../../contracts/budget';
import type { ContinueSandbox, SandboxPlan } from '../../../contracts/sandbox';
import { parseUsd } from '../../../core/money';
import { Budget } from '../../../workflows/budget/with-budget';
import { SandboxSession } from '../../../workflows/agent/sandbox-session';
import { BudgetModel, commit, release, reserve } from '../../support/budget-model';

/** What activities do beyond what is usual, one after the other: `create` is lost, say, or a program takes an hour. */
type Script = Partial<Record<string, Reply[]>>;
type Program = (session: SandboxSession, scene: SandboxScene) => Promise<unknown>;

interface World {
  run?: Partial<AgentRunInput>;
  script?: Script;
  /** What the tenant may spend: a window costs $0.1. */
  limitUsd?: string;
  carried?: CarriedSandbox;
}

class SandboxScene extends WorkflowScene {
  readonly log: string[] = [];
  /** Programs that were told to stop. */
  stopped = 0;
  readonly model: BudgetModel;
  private readonly script: Script;
  private made = 0;

  constructor({ script = {}, limitUsd = '10' }: World) {
    super(
      (call) => this.act(call),
      () => {
        this.stopped += 1;
        // A program that is stopped keeps what it printed.
        return { returns: { sandboxGone: false }, afterMs: 2_000 };
      },
    );
    this.script = script;
    this.model = new BudgetModel(0, [{ limitUsd, resourceType: 'e2b' }]);
  }

  note(text: string): void {
    this.log.push(`${this.nowMs / 1_000} ${text}`);
  }

  private act({ type, request }: Call): Reply {
    const continued = request as Partial<ContinueSandbox>;
    const { sandbox } = continued;
    this.model.nowMs = this.nowMs;
    if (type === 'reserveQuickly') {
      const { operationId, amountUsd, ...more } = request as ReserveRequest;
      const [answer] = this.model.decide(reserve(operationId, amountUsd, more)).answers;
      return { returns: answer };
    }
    if (type === 'prepareSandbox') {
      const { windowSeconds } = request as SandboxPlan;
      return { returns: { tier: 'small', windowSeconds, priceVersion: 'p', amountUsd: '0.1' } };
    }
    const name = type.replace(/Sandbox$|Code$/, '');
    this.note([name, ...(sandbox ? [sandbox.sandboxId] : [])].join(' '));
    const scripted = this.script[type]?.shift();
    if (scripted) return scripted;
    return {
      returns: this.usual(type, continued),
      ...(type === 'executeCode' ? { afterMs: 1_000 } : {}),
    };
  }

  private usual(type: string, { operationId = '', sandbox, plan }: Partial<ContinueSandbox>): unknown {
    switch (type) {
      case 'createSandbox':
        this.model.claim(operationId);
        return {
          sandboxId: `s${(this.made += 1)}`,
          operationId,
          priceVersion: 'p',
          startedAtMs: this.nowMs,
          windowSeconds: plan?.windowSeconds,
        };
      case 'extendSandbox':
        this.model.claim(operationId);
        return { ...sandbox, operationId, windowStartedAtMs: this.nowMs };
      case 'resumeSandbox':
        this.model.claim(operationId);
        return { ...sandbox, operationId, startedAtMs: this.nowMs, windowStartedAtMs: this.nowMs };
      case 'pauseSandbox':
        return { paused: true, costUsd: '0.05' };
      case 'terminateSandbox':
        this.model.outcome(operationId, { billed: true, costUsd: parseUsd('0.05') });
        this.model.decide(commit(operationId));
        return undefined;
      case 'commit':
        this.model.decide(commit(operationId));
        return { outcome: 'unknown' };
      case 'release':
        this.model.decide(release(operationId));
        return undefined;
      case 'executeCode':
        return { sandboxGone: false, lastSeenAtMs: this.nowMs };
      default:
        return undefined;
    }
  }

  get end(): string {
    if (!this.ended) return 'goes on';
    if ('result' in this.ended) return JSON.stringify(this.ended.result) ?? 'done';
    const { type, message } = this.ended.error as Error & { type?: string };
    return type ?? message;
  }
}

async function begin(world: World, program: Program): Promise<SandboxScene> {
  const scene = new SandboxScene(world);
  await scene.start(async () => {
    const { onDenied } = world.run ?? {};
    const budget = new Budget({ tenantId: 'acme', runId: 'run', onDenied });
    const run = {
      tenantId: 'acme',
      runId: 'run',
      sandboxTier: 'small',
      sandboxWindowSeconds: 300,
      executionSeconds: 3_600,
      ...world.run,
    } as AgentRunInput;
    return program(new SandboxSession(run, budget, 'spendlock-runs', world.carried), scene);
  });
  return scene;
}

const programs = { count: 1, needSandbox: true };
const takes = (seconds: number): Reply => ({ returns: { sandboxGone: false }, afterMs: seconds * 1_000 });
const ill: Reply = failing('sandbox_failed', { settled: true, retry: false });

interface Case extends World {
  what: string;
  program: Program;
  log: string;
  end?: string;
}

const cases: Case[] = [
  {
    what: 'is made when it is first needed, used again, and ended once, however often that is asked for',
    program: async (session) => {
      await session.execute(1, programs);
      await session.execute(2, programs);
      await session.end();
      await session.end();
    },
    log: '0 create | 0 execute s1 | 1 execute s1 | 2 terminate s1',
  },
  {
    what: 'is not made for calls that need none',
    program: async (session) => {
      await session.execute(1, { count: 1, needSandbox: false });
      await session.end();
    },
    log: '0 execute',
  },
  {
    what: 'gets a new window half a minute before the end of the last, for as long as a program runs',
    script: { executeCode: [takes(700)] },
    program: async (session) => {
      await session.execute(1, programs);
      await session.end();
    },
    log: '0 create | 0 execute s1 | 270 extend s1 | 540 extend s1 | 700 terminate s1',
  },
  {
    what: 'gets a new window after two thirds of a short one',
    run: { sandboxWindowSeconds: 30 },
    script: { executeCode: [takes(45)] },
    program: (session) => session.execute(1, programs),
    log: '0 create | 0 execute s1 | 20 extend s1 | 40 extend s1',
  },
  {
    what: 'gets a new window first where little is left of one when it is needed',
    script: { executeCode: [takes(265)] },
    program: async (session) => {
      await session.execute(1, programs);
      await session.idle(() => false, 20);
      await session.execute(2, programs);
    },
    log: '0 create | 0 execute s1 | 285 extend s1 | 285 execute s1',
  },
  {
    what: 'is ended where that is refused its money, and no other is made of what its end frees',
    limitUsd: '0.15',
    script: { executeCode: [takes(265)] },
    program: async (session) => {
      await session.execute(1, programs);
      await session.idle(() => false, 20);
      await session.execute(2, programs);
    },
    log: '0 create | 0 execute s1 | 285 terminate s1',
    end: 'quota_exceeded',
  },
  {
    what: 'gets no new window where the program ends before',
    script: { executeCode: [takes(269)] },
    program: (session) => session.execute(1, programs),
    log: '0 create | 0 execute s1',
  },
  {
    what: 'has a new window before a program begins in what is nearly over',
    script: { executeCode: [takes(269), takes(2), takes(1)] },
    program: async (session) => {
      await session.execute(1, programs);
      await session.execute(2, programs);
      await session.execute(3, programs);
    },
    log: '0 create | 0 execute s1 | 269 execute s1 | 270 extend s1 | 271 execute s1',
  },
  {
    what: 'is ended, with its programs stopped, when it is refused the money of a new window',
    limitUsd: '0.15',
    script: { executeCode: [{ open: true }] },
    program: (session) => session.execute(1, programs),
    log: '0 create | 0 execute s1 | 272 terminate s1',
    end: 'quota_exceeded',
  },
  {
    what: 'is ended then too where its run waits for money, which goes on',
    run: { onDenied: 'wait' },
    limitUsd: '0.15',
    script: { executeCode: [{ open: true }] },
    program: (session) => session.execute(1, programs),
    log: '0 create | 0 execute s1 | 272 terminate s1',
  },
  {
    what: 'is replaced when the provider gives it no new window',
    script: { executeCode: [{ open: true }], extendSandbox: [ill] },
    program: async (session) => {
      await session.execute(1, programs);
      await session.execute(2, programs);
    },
    log: '0 create | 0 execute s1 | 270 extend s1 | 272 terminate s1 | 272 create | 272 execute s2',
  },
  {
    what: 'is replaced when it turns out to be gone',
    script: { executeCode: [{ returns: { sandboxGone: true } }] },
    program: async (session) => {
      await session.execute(1, programs);
      await session.execute(2, programs);
    },
    log: '0 create | 0 execute s1 | 0 terminate s1 | 0 create | 0 execute s2',
  },
  {
    what: 'that was made with its reply lost is looked for and ended before it is charged, and another is made',
    script: { createSandbox: [{ lost: true, afterMs: 5_000 }] },
    program: (session) => session.execute(1, programs),
    log: '0 create | 5 terminate | 5 commit | 6 create | 6 execute s1',
  },
  {
    what: 'is paused after a minute of rest and ended after a day',
    program: async (session, scene) => {
      session.onRest = () => scene.note('rest');
      await session.execute(1, programs);
      await session.idle(() => false, 100_000);
    },
    log: '0 create | 0 execute s1 | 61 pause s1 | 61 rest | 86461 discard',
  },
  {
    what: 'is paused before its window ends, however long it may rest',
    run: { sandboxIdle: { pauseSeconds: 3_600, killSeconds: 60 } },
    program: async (session) => {
      await session.execute(1, programs);
      await session.idle(() => false, 1_000);
    },
    log: '0 create | 0 execute s1 | 285 pause s1 | 345 discard',
  },
  {
    what: 'is not paused where the rest is shorter, nor where it is needed at once',
    program: async (session) => {
      await session.execute(1, programs);
      await session.idle(() => false, 59);
      await session.idle(() => true);
      await session.execute(2, programs);
    },
    log: '0 create | 0 execute s1 | 60 execute s1',
  },
  {
    what: 'comes back from a pause when it is needed again',
    program: async (session) => {
      await session.execute(1, programs);
      await session.pause();
      await session.pause();
      await session.execute(2, programs);
      await session.end();
    },
    log: '0 create | 0 execute s1 | 1 pause s1 | 1 resume s1 | 1 execute s1 | 2 terminate s1',
  },
  {
    what: 'is replaced when it does not come back',
    script: { resumeSandbox: [ill] },
    program: async (session) => {
      await session.execute(1, programs);
      await session.pause();
      await session.execute(2, programs);
    },
    log: '0 create | 0 execute s1 | 1 pause s1 | 1 resume s1 | 1 create | 1 execute s2',
  },
  {
    what: 'is made anew when it was gone before its pause',
    script: { pauseSandbox: [{ returns: { paused: false, costUsd: '0.01' } }] },
    program: async (session) => {
      await session.execute(1, programs);
      await session.pause();
      await session.execute(2, programs);
    },
    log: '0 create | 0 execute s1 | 1 pause s1 | 1 create | 1 execute s2',
  },
  {
    what: 'stays open when the provider does not pause it, and holds its money until it is ended',
    script: { pauseSandbox: [ill] },
    program: async (session) => {
      await session.execute(1, programs);
      await session.pause();
      const open = session.openOperationIds.length;
      await session.end();
      return [open, session.openOperationIds.length];
    },
    log: '0 create | 0 execute s1 | 1 pause s1 | 1 terminate s1',
    end: '[1,0]',
  },
  {
    what: 'that the provider does not end fails nothing, and holds its money until its window and a margin are over',
    script: { terminateSandbox: [ill] },
    program: async (session, scene) => {
      await session.execute(1, programs);
      await session.end();
      const left = session.openOperationIds.length;
      await session.idle(() => scene.nowMs < 0, 479);
      const before = session.openOperationIds.length;
      await session.idle(() => scene.nowMs < 0, 1);
      return [left, before, session.openOperationIds.length];
    },
    log: '0 create | 0 execute s1 | 1 terminate s1',
    end: '[1,1,0]',
  },
];

describe('the sandbox of a run', () => {
  afterEach(() => jest.restoreAllMocks());

  test.each(cases)('$what', async ({ program, log, end = 'done', ...world }) => {
    const scene = await begin(world, program);
    await scene.finish();
    expect({ log: scene.log.join(' | '), end: scene.end }).toEqual({ log, end });
  });

  test('stops its programs before it is ended, and then only', async () => {
    const world: World = { limitUsd: '0.15', script: { executeCode: [takes(1), { open: true }] } };
    const scene = await begin(world, async (session) => {
      await session.execute(1, programs);
      await session.execute(2, programs);
    });
    await scene.moveTo(200_000);
    expect(scene.stopped).toBe(0);
    await scene.finish();
    expect(scene.stopped).toBe(1);
  });

  test('is ended when its run is cancelled in a program', async () => {
    const scene = await begin({ script: { executeCode: [{ open: true }] } }, (session) => session.execute(1, programs));
    await scene.moveTo(10_000);
    await scene.cancel();
    await scene.finish();
    expect([scene.log.at(-1), scene.stopped, scene.ended !== undefined]).toEqual(['12 terminate s1', 1, true]);
  });

  test.each(['open', 'paused'] as const)('goes on %s in the next execution', async (state) => {
    let carried: CarriedSandbox | undefined;
    await begin({}, async (session) => {
      await session.ready(1);
      if (state === 'paused') await session.pause();
      carried = session.carry();
    });
    expect(carried?.state).toBe(state);
    jest.restoreAllMocks();
    const scene = await begin({ ...(carried ? { carried } : {}) }, (session) => session.execute(2, programs));
    await scene.finish();
    expect(scene.log.join(' | ')).toBe(state === 'open' ? '0 execute s1' : '0 resume s1 | 0 execute s1');
  });

  test('is remembered as it was last seen, which is what it is charged to when it is gone', async () => {
    const scene = await begin(
      { script: { executeCode: [{ returns: { sandboxGone: false, lastSeenAtMs: 777 } }] } },
      async (session) => {
        await session.execute(1, programs);
        return session.carry()?.sandbox.lastSeenAtMs;
      },
    );
    await scene.finish();
    expect(scene.end).toBe('777');
  });
});
