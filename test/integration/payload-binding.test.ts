/** A ciphertext is good for the workflow that it was made for and no other, wherever Temporal carries one. */
import { createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { CompleteAsyncError, Context, type Info } from '@temporalio/activity';
import { Client, ScheduleOverlapPolicy, type WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure, RawValue, type Payload, type SerializationContext } from '@temporalio/common';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { temporal } from '@temporalio/proto';
import { DefaultLogger, NativeConnection, Runtime, Worker, type LogEntry } from '@temporalio/worker';
import { dataConverterFrom } from '../../temporal/encryption/data-converter';
import { payloadKeysFrom } from '../../temporal/encryption/keys';
import { EncryptingCodec, PayloadMovedError } from '../../temporal/encryption/payload-codec';
import { bundleWorkflows } from '../../workers/workers';
import { startTelemetry } from '../../telemetry/start';
import type { BindingActivities } from '../support/binding-workflows';
import { TestStack, until } from '../support/stack';

const key = randomBytes(32);
const environment = { SPENDLOCK_PAYLOAD_KEYS: `test:${key.toString('base64')}` };

/** The codec, with a note of each payload that was read without its workflow being known. */
class WatchedCodec extends EncryptingCodec {
  readonly readUnseen: (string | undefined)[] = [];
  override async decode(payloads: Payload[], context?: SerializationContext): Promise<Payload[]> {
    if (context?.workflowId === undefined) for (const payload of payloads) this.readUnseen.push(ownerIn(payload));
    return super.decode(payloads, context);
  }
}

/** For which workflow a ciphertext was made, as it says inside. */
function ownerIn({ data }: Payload): string | undefined {
  const sealed = Buffer.from(data ?? []);
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 });
  decipher.setAAD(Buffer.from('test'));
  decipher.setAuthTag(sealed.subarray(-16));
  const clear = temporal.api.common.v1.Payload.decode(
    Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]),
  );
  const bound = clear.metadata?.['encryption-bound-to'];
  return bound && Buffer.from(bound).toString().split(' ').slice(2).join(' ');
}

describe('encrypted payloads of workflows', () => {
  const keys = payloadKeysFrom(environment);
  const converter = dataConverterFrom(environment);
  if (!keys || !converter) throw new Error('There are keys, and no converter.');
  const codec = new WatchedCodec(keys);
  const dataConverter = { ...converter, payloadCodecs: [codec] };
  const taskQueue = `binding-${randomUUID()}`;
  const logged: LogEntry[] = [];
  const waiting: { info: Info; text: string }[] = [];
  let stack: TestStack;
  let client: Client;
  let worker: Worker;
  let running: Promise<void>;

  const activities: BindingActivities = {
    async beat(text) {
      const { info } = Context.current();
      if (info.attempt > 1) return `beat ${String(info.heartbeatDetails)}`;
      Context.current().heartbeat(text);
      throw new Error('once more');
    },
    fail: (text) => Promise.reject(ApplicationFailure.nonRetryable('failed', 'Failed', text)),
    async answeredByName(text) {
      waiting.push({ info: Context.current().info, text });
      throw new CompleteAsyncError();
    },
    async answeredByToken(text) {
      waiting.push({ info: Context.current().info, text });
      throw new CompleteAsyncError();
    },
    echo: (text) => Promise.resolve(`echo ${text}`),
  };

  beforeAll(async () => {
    Runtime.install({ logger: new DefaultLogger('WARN', (entry) => void logged.push(entry)) });
    stack = await TestStack.start({ worker: false });
    client = new Client({ connection: stack.temporal.connection, dataConverter });
    const workflowBundle = await bundleWorkflows(startTelemetry('test'), {
      path: require.resolve('../support/binding-workflows'),
      dataConverter,
    });
    worker = await Worker.create({
      connection: await NativeConnection.connect({ address: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '' }),
      taskQueue,
      workflowBundle,
      dataConverter,
      activities,
      // Every task replays all of its history, and so reads all of it again.
      maxCachedWorkflows: 0,
    });
    running = worker.run();
  });
  afterAll(async () => {
    worker.shutdown();
    await running;
    await stack.stop();
  });

  /** An activity that somebody else completes. */
  const asked = (activityType: string, workflowId: string): Promise<{ info: Info; text: string }> =>
    until(`${activityType} is asked`, () =>
      Promise.resolve(
        waiting.find(
          ({ info }) => info.activityType === activityType && info.workflowExecution?.workflowId === workflowId,
        ),
      ),
    );
  /** Every payload that Temporal has of a workflow, by where it stands: for whom it was made. */
  const owners = async (workflowId: string, runId?: string): Promise<Map<string, Set<string | undefined>>> => {
    const history = await stack.temporal.workflow.getHandle(workflowId, runId).fetchHistory();
    const found = new Map<string, Set<string | undefined>>();
    const walk = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null) return;
      const { metadata, data } = value as { metadata?: { encoding?: string }; data?: string };
      if (metadata?.encoding !== undefined && data !== undefined) {
        if (/searchAttributes|header|details\.(patch-data|version|data)/.test(path)) return;
        const owner = ownerIn({ data: Buffer.from(data, 'base64') });
        found.set(path, (found.get(path) ?? new Set()).add(owner));
      }
      for (const [name, inner] of Object.entries(value))
        walk(inner, /^\d+$/.test(name) ? path : `${path}${path ? '.' : ''}${name}`);
    };
    walk((JSON.parse(historyToJSON(history)) as { events: unknown[] }).events, '');
    return found;
  };

  test('XC7: are bound to the workflow that reads them, wherever they stand, and are read there', async () => {
    const workflowId = `every/${randomUUID()}`;
    const handle = await client.workflow.start('everyWay', {
      taskQueue,
      workflowId,
      args: ['text'],
      memo: { started: 'memo' },
      staticSummary: 'a summary',
    });
    const { info } = await asked('answeredByName', workflowId);
    const described = await handle.describe();
    expect(described.memo).toEqual({ started: 'memo', noted: 'text' });
    expect(await described.staticSummary()).toBe('a summary');
    await client.activity.complete({ workflowId, activityId: info.activityId }, 'by name');
    const { info: second } = await asked('answeredByToken', workflowId);
    await client.activity.complete(second.taskToken, 'by token', {
      serializationContext: {
        type: 'activity',
        namespace: 'default',
        workflowId,
        activityId: second.activityId,
        isLocal: false,
      },
    });
    const { runId: first } = await handle.describe();
    await until('it goes on', async () => (await handle.describe()).runId !== first || undefined);
    await handle.signal('tell', 'a word');
    expect(await handle.query('last', 'last')).toBe('last:a word');
    expect(await handle.executeUpdate('change', { args: ['all'] })).toBe('changed all');
    expect(await handle.result()).toEqual([
      'beat text',
      'failed/text',
      'by name',
      'by token',
      'echo text',
      'child text',
      'no parent/failed details',
      'signal text',
      'a word',
      'all',
    ]);

    const child = `${workflowId}/child`;
    const failing = `${workflowId}/failing`;
    const begun = await owners(workflowId, handle.firstExecutionRunId);
    for (const [path, whose] of begun) {
      const ofChild = /^(startChild|childWorkflow)/.test(path) || (path.startsWith('userMetadata') && whose.size > 1);
      expect([path, [...whose].filter((owner) => !ofChild || ![child, failing].includes(owner ?? ''))]).toEqual([
        path,
        ofChild && !whose.has(workflowId) ? [] : [workflowId],
      ]);
    }
    expect([...begun.keys()].map((path) => path.replace(/EventAttributes.*/, ''))).toEqual(
      expect.arrayContaining([
        'workflowExecutionStarted',
        'activityTaskScheduled',
        'activityTaskCompleted',
        'activityTaskFailed',
        'markerRecorded',
        'startChildWorkflowExecutionInitiated',
        'childWorkflowExecutionCompleted',
        'childWorkflowExecutionFailed',
        'workflowExecutionSignaled',
        'workflowPropertiesModified',
        'workflowExecutionContinuedAsNew',
      ]),
    );
    for (const [path, whose] of await owners(workflowId)) expect([path, [...whose]]).toEqual([path, [workflowId]]);
    for (const [path, whose] of await owners(child))
      // What it says to its parent is its parent's.
      expect([path, [...whose]]).toEqual([path, [path.startsWith('signalExternal') ? workflowId : child]]);
    expect(codec.readUnseen).toEqual([]);
  });

  test('XC7: of what a schedule starts are bound to all that it starts', async () => {
    const scheduleId = `every/${randomUUID()}`;
    const schedule = await client.schedule.create({
      scheduleId,
      spec: {},
      memo: { of: 'the schedule' },
      action: { type: 'startWorkflow', workflowType: 'scheduled', workflowId: scheduleId, taskQueue, args: ['text'] },
    });
    try {
      for (const round of [1, 2]) {
        await schedule.trigger(ScheduleOverlapPolicy.ALLOW_ALL);
        const { info } = await until('it has started', async () => {
          const described = await schedule.describe();
          return described.info.recentActions.length === round && described;
        });
        const started = info.recentActions.at(-1)?.action.workflow;
        expect(started?.workflowId).toMatch(new RegExp(`^${scheduleId}-\\d{4}-`));
        const handle = client.workflow.getHandle(started?.workflowId ?? '');
        expect(await handle.result()).toBe('ECHO TEXT');
        for (const whose of (await owners(handle.workflowId)).values()) expect([...whose]).toEqual([scheduleId]);
        await new Promise((resolve) => setTimeout(resolve, 1_100));
      }
      expect((await schedule.describe()).memo).toEqual({ of: 'the schedule' });
    } finally {
      await schedule.delete();
    }
  });

  /** The first payload at a place of a workflow's history, as it is kept. */
  const payloadAt = async (workflowId: string, place: string): Promise<RawValue> => {
    const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
    for (const event of events ?? []) {
      const attributes = (event as unknown as Record<string, { input?: unknown; result?: unknown } | null>)[place];
      const { payloads } = (attributes?.input ?? attributes?.result ?? {}) as { payloads?: Payload[] };
      if (payloads?.[0]) return RawValue.fromPayload(payloads[0]);
    }
    throw new Error(`${workflowId} has no ${place}.`);
  };
  /** What the failed task of a workflow says. */
  const taskFailure = (workflowId: string): Promise<string> =>
    until('its task fails', async () => {
      const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
      const [attributes] = events?.flatMap((event) => event.workflowTaskFailedEventAttributes ?? []) ?? [];
      const words = attributes?.failure?.encodedAttributes;
      return words ? Buffer.from((await codec.decode([words]))[0]?.data ?? []).toString() : undefined;
    });
  const word = (by: 'signal' | 'activity'): Promise<WorkflowHandle> =>
    client.workflow.start('oneWord', { taskQueue, workflowId: `word/${randomUUID()}`, args: [by] });

  test('XC7: that were moved into another workflow are refused there, as input, signal, query and result', async () => {
    const [giver, worked] = [await word('signal'), await word('activity')];
    await giver.signal('tell', 'the giver’s');
    expect(await giver.result()).toBe('the giver’s');
    const { info } = await asked('answeredByName', worked.workflowId);
    await client.activity.complete({ workflowId: worked.workflowId, activityId: info.activityId }, 'of another');
    expect(await worked.result()).toBe('of another');
    const input = await payloadAt(giver.workflowId, 'workflowExecutionStartedEventAttributes');
    const signalled = await payloadAt(giver.workflowId, 'workflowExecutionSignaledEventAttributes');
    const answer = await payloadAt(worked.workflowId, 'activityTaskCompletedEventAttributes');

    // As who can write to Temporal, and has no key.
    const { temporal: blind } = stack;
    const started = await blind.workflow.start('oneWord', {
      taskQueue,
      workflowId: `word/${randomUUID()}`,
      args: [input],
    });
    const [told, given, questioned] = [await word('signal'), await word('activity'), await word('signal')];
    await blind.workflow.getHandle(told.workflowId).signal('tell', signalled);
    const { info: waits } = await asked('answeredByName', given.workflowId);
    await blind.activity.complete({ workflowId: given.workflowId, activityId: waits.activityId }, answer);
    const misplaced = (workflowId: string, from: WorkflowHandle): string =>
      `A payload of the workflow ${from.workflowId} (namespace default) was found in the workflow ${workflowId} ` +
      '(namespace default) and is refused: somebody moved it there.';
    expect(await taskFailure(started.workflowId)).toContain(misplaced(started.workflowId, giver));
    expect(await taskFailure(told.workflowId)).toContain(misplaced(told.workflowId, giver));
    expect(await taskFailure(given.workflowId)).toContain(misplaced(given.workflowId, worked));
    await expect(blind.workflow.getHandle(questioned.workflowId).query('last', signalled)).rejects.toThrow();
    // Whoever looks into the log is told, and nobody else is held up.
    expect(String(logged.find(({ meta }) => meta?.error instanceof PayloadMovedError)?.meta?.error)).toContain(
      'docs/operations.md',
    );
    await questioned.signal('tell', 'goes on');
    expect(await questioned.result()).toBe('goes on');
    for (const { workflowId } of [started, told, given]) await blind.workflow.getHandle(workflowId).terminate();
  });
});
