/** What the plugin does around one attempt of an activity, without a server: the activity is the SDK's own, the budget is one in memory. */
import { Client, Connection } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { SpendlockPlugin, type CallMoney, type PaidActivity } from '../../../workers/plugin';

type Outcome = Parameters<CallMoney['settle']>[1];

class MemoryMoney implements CallMoney {
  readonly holds: string[] = [];
  readonly outcomes: Outcome['billed'][] = [];
  askedAfter: readonly string[] = [];
  holdMs = 0;
  settleMs = 0;
  found: { result: unknown } | undefined;
  prices = () => Promise.resolve([]);
  async hold(asked: Parameters<CallMoney['hold']>[0]) {
    this.holds.push(asked.operationId);
    await pause(this.holdMs);
    return { ...asked, grantedUsd: asked.amountUsd };
  }
  extend = () => Promise.resolve();
  readonly kept: unknown[] = [];
  async settle(_held: unknown, { billed }: Outcome, result?: unknown) {
    await pause(this.settleMs);
    this.outcomes.push(billed);
    this.kept.push(result);
  }
  bought(operationIds: readonly string[]) {
    this.askedAfter = operationIds;
    return Promise.resolve(this.found);
  }
  mayPass = () => false;
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

const pluginOf = (calls: CallMoney) =>
  new SpendlockPlugin({ budget: { calls }, activities: { research: { estimateUsd: '1' } } });
const interceptorsOf = (plugin: SpendlockPlugin): ActivityInterceptorsFactory[] =>
  plugin.configureWorker({ taskQueue: 'q' }).interceptors?.activity as ActivityInterceptorsFactory[];

let money: MemoryMoney;
let calls: number;
beforeEach(() => {
  money = new MemoryMoney();
  calls = 0;
});
const research = () => Promise.resolve(`found ${(calls += 1)}`);
const attemptOf = (info: object, plugins = [pluginOf(money)]) =>
  new MockActivityEnvironment({ activityType: 'research', ...info }, { interceptors: plugins.flatMap(interceptorsOf) });

test('a plugin that comes twice budgets an attempt once', async () => {
  const attempt = attemptOf({}, [pluginOf(money), pluginOf(money)]);
  expect(await attempt.run(research)).toBe('found 1');
  expect(money.holds).toHaveLength(1);
  expect(money.outcomes).toEqual(['known']);
  // Not for ever: an environment of a test runs several in one.
  await attempt.run(research);
  expect(money.holds).toHaveLength(2);
});

test('no call is made for an attempt whose time was over before its money was granted', async () => {
  money.holdMs = 60;
  await expect(attemptOf({ startToCloseTimeoutMs: 30 }).run(research)).rejects.toThrow('No call was made.');
  expect(calls).toBe(0);
  expect(money.outcomes).toEqual(['no']);
});

test('nor for one of an activity whose time is over with those before it', async () => {
  money.holdMs = 60;
  // A minute was before this attempt, by the server's clock.
  const [scheduledTimestampMs, currentAttemptScheduledTimestampMs] = [1_000_000, 1_060_000];
  const times = { scheduledTimestampMs, currentAttemptScheduledTimestampMs, startToCloseTimeoutMs: 60_000 };
  const over = { ...times, scheduleToCloseTimeoutMs: 60_030 };
  await expect(attemptOf(over).run(research)).rejects.toThrow('No call was made.');
  expect([calls, money.outcomes]).toEqual([0, ['no']]);
  await attemptOf({ ...times, scheduleToCloseTimeoutMs: 70_000 }).run(research);
  await attemptOf({ ...times, scheduleToCloseTimeoutMs: 0 }).run(research);
  expect(calls).toBe(2);
});

test.each([null, undefined])('an answer of nothing is kept as one, and not bought again: %p', async (nothing) => {
  await attemptOf({}).run(() => Promise.resolve(nothing));
  const [kept] = money.kept;
  expect(kept).toBeDefined();
  money.found = { result: JSON.parse(JSON.stringify(kept)) as unknown };
  expect(await attemptOf({ attempt: 2 }).run(research)).toBeNull();
  expect(calls).toBe(0);
  // One that failed has none.
  await expect(attemptOf({}).run(() => Promise.reject(new Error('No.')))).rejects.toThrow('No.');
  expect(money.kept[1]).toBeUndefined();
});

test('by Postgres a hold is prolonged while it lasts, however long it was asked for', async () => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'performance'] });
  try {
    let extended = 0;
    money.extend = () => Promise.resolve(void (extended += 1));
    const options = { budget: { calls: money }, activities: { research: { estimateUsd: '1' } }, holdSeconds: 3_600 };
    const running = attemptOf({}, [new SpendlockPlugin(options)]).run(() => pause(185_000));
    await jest.advanceTimersByTimeAsync(186_000);
    await running;
    expect(extended).toBe(3);
  } finally {
    jest.useRealTimers();
  }
});

test('a hold is prolonged no longer than its attempt lasts, and a late answer is priced all the same', async () => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask'] });
  try {
    let extended = 0;
    money.extend = () => Promise.resolve(void (extended += 1));
    const lasting = { startToCloseTimeoutMs: 300_000, scheduleToCloseTimeoutMs: 0 };
    const hanging = attemptOf(lasting).run(() => pause(3_000_000));
    await jest.advanceTimersByTimeAsync(2_999_000);
    expect(extended).toBe(4);
    await jest.advanceTimersByTimeAsync(2_000);
    await hanging;
    expect(money.outcomes).toEqual(['known']);
    // Three of the ten minutes that the activity has in all were before this attempt.
    const times = { scheduledTimestampMs: 1_000_000, currentAttemptScheduledTimestampMs: 1_180_000 };
    const last = attemptOf({ ...times, startToCloseTimeoutMs: 0, scheduleToCloseTimeoutMs: 600_000 });
    const running = last.run(() => pause(900_000));
    await jest.advanceTimersByTimeAsync(901_000);
    await running;
    expect(extended).toBe(4 + 6);
  } finally {
    jest.useRealTimers();
  }
});

const never = () => new Promise<never>(() => undefined);
const pluginThat = (paid: Partial<PaidActivity>) =>
  new SpendlockPlugin({ budget: { calls: money }, activities: { research: { estimateUsd: '1', ...paid } } });

test('an estimate that is never said fails the attempt while it lasts, and nothing is held', async () => {
  const attempt = attemptOf({ startToCloseTimeoutMs: 100 }, [pluginThat({ estimateUsd: never })]);
  await expect(attempt.run(research)).rejects.toMatchObject({ type: 'authority_unavailable', nonRetryable: false });
  expect([calls, money.holds]).toEqual([0, []]);
});

test('a cost that is never said is charged at what is held, and the answer is handed over while its attempt lasts', async () => {
  const attempt = attemptOf({ startToCloseTimeoutMs: 500 }, [pluginThat({ cost: never })]);
  const begunMs = performance.now();
  expect(await attempt.run(research)).toBe('found 1');
  expect(performance.now() - begunMs).toBeLessThan(500);
  expect(money.outcomes).toEqual(['unknown']);
  expect(money.kept).toEqual(['found 1']);
});

test('nor for one that was cancelled meanwhile', async () => {
  money.holdMs = 50;
  const attempt = attemptOf({});
  const running = attempt.run(research);
  attempt.cancel();
  await expect(running).rejects.toMatchObject({ name: 'CancelledFailure' });
  expect(calls).toBe(0);
  expect(money.outcomes).toEqual(['no']);
});

test('an attempt that waits for money says that it is alive, and keeps what the one before it left', async () => {
  money.holdMs = 100;
  const attempt = attemptOf({ heartbeatTimeoutMs: 60, heartbeatDetails: 'half' });
  const beats: unknown[] = [];
  attempt.on('heartbeat', (details: unknown) => beats.push(details));
  await attempt.run(research);
  expect(beats.length).toBeGreaterThan(1);
  expect(new Set(beats)).toEqual(new Set(['half']));
});

test('an attempt that has to say that it is alive does not wait long for its cost to be on record', async () => {
  money.settleMs = 500;
  await attemptOf({ heartbeatTimeoutMs: 1_000 }).run(research);
  expect(money.outcomes).toEqual([]);
});

test('an attempt asks at once after all before it, the latest first', async () => {
  money.found = { result: 'bought before' };
  expect(await attemptOf({ attempt: 40 }).run(research)).toBe('bought before');
  expect(calls).toBe(0);
  expect(money.askedAfter).toHaveLength(39);
  money.found = undefined;
  await attemptOf({ attempt: 39 }).run(research);
  expect(money.askedAfter).not.toContain(money.holds[0]);
  await attemptOf({ attempt: 40 }).run(research);
  expect(money.askedAfter[0]).toBe(money.holds[0]);
});

test('an activity that was reset counts its attempts anew, and uses what it bought under the same number', async () => {
  const hold = money.hold.bind(money);
  const refusing = (type: string) => async (asked: Parameters<CallMoney['hold']>[0]) => {
    await hold(asked);
    throw ApplicationFailure.create({ type, message: 'It has ended. No call was made.' });
  };
  Object.assign(money, { hold: refusing('claim_refused'), found: { result: 'bought before' } });
  expect(await attemptOf({}).run(research)).toBe('bought before');
  expect(money.askedAfter).toEqual(money.holds);
  Object.assign(money, { hold: refusing('quota_exceeded') });
  await expect(attemptOf({}).run(research)).rejects.toThrow('It has ended.');
  Object.assign(money, { hold: refusing('claim_refused'), found: undefined });
  await expect(attemptOf({}).run(research)).rejects.toThrow('It has ended.');
  expect(calls).toBe(0);
});

test('a plugin that a client has too changes nothing of what the client asks', () => {
  const plugin = pluginOf(money);
  const options = { namespace: 'n', interceptors: { workflow: [] }, plugins: [plugin] };
  const client = new Client({ connection: Connection.lazy({ address: '127.0.0.1:1' }), ...options });
  expect(client.options).toMatchObject({ namespace: 'n', interceptors: { workflow: [] } });
  expect(plugin.configureClient(options)).toEqual({ ...options, dataConverter: undefined });
});

test('a worker that ends waits for money that is given back, since its call is not made', async () => {
  let isBack = false;
  const givenBack = async () => {
    await pause(50);
    isBack = true;
  };
  await pluginOf(Object.assign(money, { givenBack })).runWorker({} as never, () => Promise.resolve());
  expect(isBack).toBe(true);
});

test('a worker that ends waits for what comes to be told meanwhile', async () => {
  money.settleMs = 80;
  const plugin = pluginOf(money);
  const short = { heartbeatTimeoutMs: 10 };
  await attemptOf(short, [plugin]).run(research);
  const ending = plugin.runWorker({} as never, () => Promise.resolve());
  await pause(40);
  await attemptOf(short, [plugin]).run(research);
  await ending;
  expect(money.outcomes).toEqual(['known', 'known']);
});
