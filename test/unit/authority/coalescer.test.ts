/** The way of commands to their authority, as tables: what is asked when, and which signals leave the process when. */
import { Coalescer, type CoalescerOptions } from '../../../authority/client/coalescer';
import type { BudgetCommand } from '../../../core/budget/commands';
import { commit, reserve } from '../../support/budget-model';
import { ManualClock, settle } from '../../support/manual-clock';

/** How Temporal turns a signal away. */
const refusal = (code: number, details = ''): Error =>
  Object.assign(new Error(details), { cause: Object.assign(new Error(details), { code, details, metadata: {} }) });
const exhausted = refusal(8, 'namespace rate limit exceeded');
const tooLong = refusal(3, 'exceeded workflow execution limit for signal events');
const unavailable = refusal(14, 'connection refused');
const unanswered = refusal(4, 'Deadline exceeded');

/** What a reserve takes beside its model. */
const reserveBytes = JSON.stringify(reserve('', '1', { model: '' })).length;

interface Server {
  /** How long a signal is on its way. */
  acceptMs?: number;
  /** What the first signals are refused with, one after the other. */
  refusals?: Error[];
  history?: () => { events: number; bytes: number };
}

const shown = (command: BudgetCommand): string => {
  if (command.type === 'reload') return '.';
  return command.type === 'release' ? `${command.operationId}!` : command.operationId;
};
const tenantOf = (id: string): string => (id.includes('/') ? (id.split('/')[0] as string) : 'acme');

/** A process that asks, its clock, and what reaches Temporal. */
function scene({ acceptMs = 0, refusals = [], history }: Server = {}, options: Partial<CoalescerOptions> = {}) {
  const clock = new ManualClock();
  const left = [...refusals];
  const sent: { atMs: number; tenantId: string; commands: BudgetCommand[] }[] = [];
  const looks: number[] = [];
  let underWay = 0;
  let underWayMax = 0;
  const coalescer = new Coalescer({
    clock,
    random: () => 1,
    signals: {
      async signal(tenantId, commands) {
        underWayMax = Math.max(underWayMax, (underWay += 1));
        sent.push({ atMs: clock.nowMs(), tenantId, commands });
        if (acceptMs > 0) await new Promise<void>((resolve) => clock.after(acceptMs, resolve));
        underWay -= 1;
        const refused = left.shift();
        if (refused) throw refused;
      },
      async historyOf() {
        looks.push(clock.nowMs());
        return history ? history() : { events: 10, bytes: 10 };
      },
    },
    ...options,
  });
  const answers = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  /** What became of each command, in order: accepted or refused, and when. */
  const told: string[] = [];
  const note = (id: string, accepted: Promise<void>): void =>
    void accepted.then(
      () => told.push(`${clock.nowMs()} ${id} accepted`),
      () => told.push(`${clock.nowMs()} ${id} refused`),
    );

  const act = (command: string): void => {
    const [what = '', id = ''] = command.split(' ');
    const tenantId = tenantOf(id);
    if (what === 'reserve') {
      const answered = new Promise<void>((resolve, reject) => answers.set(id, { resolve, reject }));
      note(id, coalescer.send(tenantId, reserve(id, '1'), answered));
    } else if (what === 'release') note(`${id}!`, coalescer.send(tenantId, { type: 'release', operationId: id }));
    else if (what === 'commit') note(id, coalescer.sendLazily(tenantId, commit(id)));
    else if (what === 'nudge') void coalescer.nudge(tenantId);
    else if (what === 'hold') coalescer.holdBack(tenantId);
    else if (what === 'answer') answers.get(id)?.resolve();
    else if (what === 'fail') answers.get(id)?.reject(new Error('the caller gave up'));
    else throw new Error(`No such step: ${command}`);
  };
  return {
    clock,
    coalescer,
    told,
    looks,
    sent,
    underWayMax: () => underWayMax,
    /** Steps as text: when, and what is done then. Twenty seconds later all is over. */
    play: async (steps: string): Promise<void> => {
      for (const step of steps.split(' | ')) {
        const [at, ...command] = step.split(' ');
        const atMs = Number(at);
        if (atMs > clock.nowMs()) await clock.moveTo(atMs);
        act(command.join(' '));
      }
      await clock.moveTo(clock.nowMs() + 20_000);
    },
    /** Signals as text: when, and what was in them. `!` is a release, `.` a look at what Postgres holds. */
    signals: () => sent.map(({ atMs, commands }) => [atMs, ...commands.map(shown)].join(' ')).join(' | '),
  };
}

interface Case {
  what: string;
  steps: string;
  signals: string;
}

const cases: Case[] = [
  {
    what: 'what is asked in one moment travels in one signal',
    steps: '0 reserve a | 0 reserve b | 0 release c',
    signals: '0 a b c!',
  },
  {
    what: 'what is asked while a signal waits for its answer travels in the next one, together and in order',
    steps: '0 reserve a | 2 reserve b | 3 release a | 4 reserve c | 10 answer a',
    signals: '0 a | 10 b a! c',
  },
  {
    what: 'a signal is not followed before all of its reserves are answered',
    steps: '0 reserve a | 0 reserve b | 1 reserve c | 5 answer b | 9 answer a',
    // Two came together, so the third waits a quarter of those 9 ms for a fourth.
    signals: '0 a b | 11.25 c',
  },
  {
    what: 'a caller that gave up holds nobody back',
    steps: '0 reserve a | 1 reserve b | 5 fail a',
    signals: '0 a | 5 b',
  },
  {
    what: 'and answers for nobody else',
    steps: '0 reserve a | 0 reserve b | 1 reserve c | 5 fail a | 8 answer b',
    signals: '0 a b | 10 c',
  },
  {
    what: 'an answer that is lost holds the next signal back for a second',
    steps: '0 reserve a | 1 reserve b | 2 release a',
    signals: '0 a | 1000 b a!',
  },
  {
    what: 'an answer that comes twice, or too late, changes nothing',
    steps: '0 reserve a | 10 answer a | 11 answer a | 20 reserve b | 1500 answer b | 1600 reserve c',
    signals: '0 a | 20 b | 1600 c',
  },
  {
    what: 'a command that is sent again travels again: the authority answers it from the record',
    steps: '0 reserve a | 0 reserve a | 500 reserve a',
    signals: '0 a a | 1020 a',
  },
  {
    what: 'tenants do not wait for each other',
    steps: '0 reserve a | 1 reserve other/b | 2 reserve a',
    signals: '0 a | 1 other/b | 1000 a',
  },
  {
    what: 'who was answered together is waited for, and gone with as soon as all are back',
    steps:
      '0 reserve a | 0 reserve b | 0 reserve c | 40 answer a | 40 answer b | 40 answer c | 41 reserve d | 43 reserve e | 45 reserve f',
    signals: '0 a b c | 45 d e f',
  },
  {
    what: 'who comes back alone waits for a quarter of what the last answer took',
    steps: '0 reserve a | 0 reserve b | 40 answer a | 40 answer b | 41 reserve c | 41 commit d',
    signals: '0 a b | 50 c d',
  },
  {
    what: 'and never for more than 20 ms',
    steps: '0 reserve a | 0 reserve b | 400 answer a | 400 answer b | 401 reserve c',
    signals: '0 a b | 420 c',
  },
  {
    what: 'nor who comes back after that',
    steps: '0 reserve a | 0 reserve b | 400 answer a | 400 answer b | 430 reserve c',
    signals: '0 a b | 430 c',
  },
  {
    what: 'a command that can wait goes by itself after a while',
    steps: '0 commit a | 30 commit b | 60 commit c',
    signals: '50 a b | 110 c',
  },
  {
    what: 'a command that can wait rides with the next one that cannot, after it',
    steps: '0 commit a | 30 reserve b',
    signals: '30 b a',
  },
  {
    what: 'a command that can wait does so beyond the end of a signal that was under way',
    steps: '0 reserve a | 5 commit x | 10 answer a | 20 reserve b',
    signals: '0 a | 20 b x',
  },
  {
    what: 'a command that has waited long enough goes soon after the signal under way has its answer',
    steps: '0 reserve a | 5 commit x | 80 answer a | 81 commit y | 101 commit z',
    signals: '0 a | 100 x y | 151 z',
  },
  {
    what: 'the authority is asked once to look, however many say so, and again for what came after',
    steps: '0 nudge | 10 nudge | 20 nudge | 60 nudge',
    signals: '50 . | 110 .',
  },
  {
    what: 'a look that would be made anyway is not asked for',
    steps: '0 commit a | 10 nudge',
    signals: '50 a',
  },
  {
    what: 'an authority that continues as new is left in peace for 100 ms',
    steps: '0 hold | 10 reserve a | 50 hold | 60 reserve b',
    signals: '150 a b',
  },
];

describe('the coalescer', () => {
  test.each(cases)('$what', async ({ steps, signals }) => {
    const { play, signals: sent, coalescer, clock } = scene();
    await play(steps);
    expect(sent()).toBe(signals);
    expect([coalescer.size, clock.pending]).toEqual([0, 0]);
  });

  test('a signal has at most 200 commands, urgent ones first', async () => {
    const { clock, coalescer, sent } = scene();
    void coalescer.sendLazily('acme', commit('late'));
    for (let index = 0; index < 450; index += 1)
      void coalescer.send('acme', { type: 'release', operationId: `${index}` });
    expect(coalescer.size).toBe(451);
    await clock.moveTo(10);
    expect(sent.map(({ commands }) => commands.length)).toEqual([200, 200, 51]);
    const ids = sent.flatMap(({ commands }) =>
      commands.map((command) => 'operationId' in command && command.operationId),
    );
    expect(ids).toEqual([...Array.from({ length: 450 }, (_, index) => `${index}`), 'late']);
  });

  test.each([
    ['of one byte a character', (id: string) => reserve(id, '1', { model: 'x'.repeat(3_000) })],
    ['of three bytes a character', (id: string) => reserve(id, '1', { model: '€'.repeat(1_000) })],
    // 164 bytes each: 199 of them fit but for what stands between them.
    ['that are small', (id: string) => reserve('', '1', { model: id.padEnd(164 - reserveBytes, 'x') })],
  ])('a signal has at most 32 KB, of commands %s', async (_, commandOf) => {
    const { clock, coalescer, sent } = scene();
    for (let index = 0; index < 199; index += 1) void coalescer.send('acme', commandOf(`${index}`));
    await clock.moveTo(10);
    const sizes = sent.map(({ commands }) => Buffer.byteLength(JSON.stringify(commands)));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(32 * 1024);
    // None but the last has room for another.
    expect(sizes.length).toBeGreaterThan(1);
    expect(Math.min(...sizes.slice(0, -1))).toBeGreaterThan(32 * 1024 - 3_300);
    expect(sent.flatMap(({ commands }) => commands)).toHaveLength(199);
  });

  test('one command that is larger than a signal may be travels alone, and stops nobody', async () => {
    const { clock, coalescer, signals } = scene();
    void coalescer.send('acme', reserve('a', '1'));
    void coalescer.send('acme', reserve('huge', '1', { model: 'x'.repeat(40_000) }));
    void coalescer.send('acme', reserve('b', '1'));
    await clock.moveTo(10);
    expect(signals()).toBe('0 a | 0 huge | 0 b');
  });

  test('a process has so many signals on their way at once, and the others go in their order', async () => {
    const { play, signals, underWayMax } = scene({ acceptMs: 10 }, { signalsAtOnce: 2 });
    await play('0 release 1/a | 0 release 2/b | 0 release 3/c | 0 release 4/d | 0 release 5/e | 5 release 3/f');
    await play('30000 release 1/a | 30000 release 2/b | 30000 release 3/c');
    expect(signals()).toBe('0 1/a! | 0 2/b! | 10 3/c! 3/f! | 10 4/d! | 20 5/e! | 30000 1/a! | 30000 2/b! | 30010 3/c!');
    expect(underWayMax()).toBe(2);
  });

  test('a tenant whose reserves wait for their answer takes no other tenant’s turn', async () => {
    const { play, signals } = scene({ acceptMs: 10 }, { signalsAtOnce: 1 });
    await play('0 reserve 1/a | 1 release 2/b');
    expect(signals()).toBe('0 1/a | 10 2/b!');
  });
});

describe('a signal that Temporal turns away', () => {
  test.each([
    ['a rate limit', exhausted],
    ['a full history', tooLong],
    ['want of an answer in time', unanswered],
  ])('for %s is sent again after pauses that double, before what came after it', async (_, refused) => {
    const { play, signals, told } = scene({ refusals: [refused, refused, refused] });
    await play('0 reserve a | 50 release a');
    expect(signals()).toBe('0 a | 100 a | 300 a | 700 a | 1700 a!');
    expect(told).toEqual(['700 a accepted', '1700 a! accepted']);
  });

  test('eight times is refused to its callers, and the next one goes', async () => {
    const { play, signals, told } = scene({ refusals: Array.from({ length: 8 }, () => exhausted) });
    await play('0 reserve a | 1 reserve b');
    expect(signals()).toBe('0 a | 100 a | 300 a | 700 a | 1500 a | 3100 a | 5100 a | 7100 a | 7100 b');
    expect(told).toEqual(['7100 a refused', '7100 b accepted']);
  });

  test('lets others have its turn while it pauses', async () => {
    const { play, signals } = scene({ refusals: [exhausted] }, { signalsAtOnce: 1 });
    await play('0 release 1/a | 1 release 2/b');
    expect(signals()).toBe('0 1/a! | 1 2/b! | 100 1/a!');
  });

  test.each([
    ['a server that is away', unavailable],
    ['a request that is none', refusal(3, 'unknown namespace')],
    ['anything else', new Error('cannot be encoded')],
  ])('for %s is told to all of its callers at once, and gives its turn back', async (_, refused) => {
    const { play, signals, told } = scene({ refusals: [refused] }, { signalsAtOnce: 1 });
    await play('0 reserve a | 0 release b | 10 release c');
    expect(signals()).toBe('0 a b! | 10 c!');
    expect(told).toEqual(['0 a refused', '0 b! refused', '10 c! accepted']);
  });
});

describe('an authority whose history is nearly full', () => {
  const hundred = async (server: Server) => {
    const playing = scene(server);
    for (let index = 0; index < 100; index += 1) {
      void playing.coalescer.send('acme', { type: 'release', operationId: `${index}` });
      await settle();
    }
    void playing.coalescer.send('acme', { type: 'release', operationId: 'next' });
    await playing.clock.moveTo(20_000);
    return { looks: playing.looks, next: playing.signals().split(' | ').at(-1) };
  };
  const mebibyte = 1024 * 1024;

  test.each([
    ['a short one', { events: 7_999, bytes: 10 * mebibyte - 1 }, [0], 0],
    ['one of many events', { events: 8_000, bytes: 1 }, [0, 1_000, 2_000, 3_000, 4_000], 5_000],
    ['one of many bytes', { events: 1, bytes: 10 * mebibyte }, [0, 1_000, 2_000, 3_000, 4_000], 5_000],
  ])('is looked at after 100 signals: %s', async (_, history, looks, atMs) => {
    expect(await hundred({ history: () => history })).toEqual({ looks, next: `${atMs} next!` });
  });

  test('is signalled as soon as it has continued as new', async () => {
    let events = 9_000;
    const history = () => ({ events: (events -= 600), bytes: 1 });
    expect(await hundred({ history })).toEqual({ looks: [0, 1_000], next: '1000 next!' });
  });

  test('is signalled where nobody can tell', async () => {
    const history = (): never => {
      throw unavailable;
    };
    expect(await hundred({ history })).toEqual({ looks: [0], next: '0 next!' });
  });
});

describe('a process that meets many tenants', () => {
  test('keeps ten thousand in mind, and of the others those alone whose commands are under way', async () => {
    const { clock, coalescer } = scene();
    for (let index = 0; index < 10_500; index += 1)
      void coalescer.send(`tenant-${index}`, { type: 'release', operationId: 'a' });
    expect([coalescer.size, coalescer.tenants]).toEqual([10_500, 10_500]);
    await clock.moveTo(100);
    expect([coalescer.size, coalescer.tenants]).toEqual([0, 10_000]);
  });
});

describe('a process that ends', () => {
  test('sends what could wait at once, and knows when all is accepted', async () => {
    const { clock, coalescer, signals } = scene({ acceptMs: 5 });
    void coalescer.sendLazily('acme', commit('a'));
    void coalescer.sendLazily('other', commit('b'));
    let isDrained = false;
    void coalescer.drain().then(() => (isDrained = true));
    await settle();
    expect(signals()).toBe('0 a | 0 b');
    void coalescer.sendLazily('acme', commit('c'));
    await clock.moveTo(4);
    expect(isDrained).toBe(false);
    await clock.moveTo(9);
    expect([signals(), isDrained]).toEqual(['0 a | 0 b | 5 c', false]);
    await clock.moveTo(10);
    expect([isDrained, coalescer.size, clock.pending]).toEqual([true, 0, 0]);
  });
});
