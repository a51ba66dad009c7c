/** Old and new workers side by side, through a change that old histories would not survive and one that they are led around. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { listApprovals } from '../../store/approvals';
import { budgetWorkflowId } from '../../contracts/messages';
import type { TestApi } from '../support/api';
import { command } from '../support/cli';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

const root = path.join(__dirname, '..', '..');

/**
 * The next version of the workflows: an agent run begins with a timer, which no open history has, and an authority waits before it
 * ends, behind a patch.
 */
async function bundleOfNextVersion(): Promise<string> {
  const folder = path.join(root, '.spendlock', `next-version-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  for (const part of ['workflows', 'core', 'contracts', 'tsconfig.json', 'package.json'])
    cpSync(path.join(root, part), path.join(folder, part), { recursive: true });
  const change = (file: string, from: string, to: string): void => {
    const text = readFileSync(path.join(folder, file), 'utf8');
    if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
    writeFileSync(path.join(folder, file), text.replace(from, to));
  };
  change(
    'workflows/agent/agent-run.ts',
    '    const how = await limit.run(',
    "    await sleep(1, { summary: 'new in this version' });\n    const how = await limit.run(",
  );
  change('workflows/agent/agent-run.ts', 'import { CancellationScope,', 'import { sleep, CancellationScope,');
  change(
    'workflows/agent/conversation.ts',
    '    this.rung = false;',
    "    if (patched('next')) await sleep(1, { summary: 'new in this version' });\n    this.rung = false;",
  );
  change('workflows/agent/conversation.ts', '  continueAsNew,\n', '  continueAsNew,\n  patched,\n  sleep,\n');
  const file = path.join(folder, 'bundle.js');
  const args = [
    path.join(root, 'scripts', 'run.cjs'),
    path.join(root, 'scripts', 'bundle.ts'),
    file,
    path.join(folder, 'workflows', 'index.ts'),
  ];
  await promisify(execFile)(process.execPath, args, { cwd: root });
  return file;
}

describe('versions of workers', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });
  afterAll(() =>
    rmSync(path.join(root, '.spendlock', `next-version-${process.pid}`), { recursive: true, force: true }),
  );

  const workers = async (
    ...args: string[]
  ): Promise<{ buildId: string; percent: number; drained: boolean | null }[]> => {
    const environment = {
      TEMPORAL_ADDRESS: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '',
      SPENDLOCK_TASK_QUEUE_PREFIX: stack.prefix,
    };
    const { status, out, err } = await command(['workers', ...args, '--json'], environment);
    if (status !== 0) throw new Error(err);
    return (JSON.parse(out) as { versions: never[] }).versions;
  };
  /** Makes a version current once the server knows of its workers. */
  const promote = (buildId: string): Promise<unknown> =>
    until(`${buildId} is promoted`, () => workers('promote', buildId).catch(() => undefined));
  /** Which versions took the tasks of a workflow, in order, and the summaries of its timers. */
  const tasksOf = async (workflowId: string): Promise<{ versions: string[]; isNew: boolean }> => {
    const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
    const versions = (events ?? []).flatMap(({ workflowTaskCompletedEventAttributes: done }) =>
      done?.deploymentVersion?.buildId ? [done.deploymentVersion.buildId] : [],
    );
    const isNew = JSON.stringify(events ?? []).includes(Buffer.from('"new in this version"').toString('base64'));
    return { versions: versions.filter((version, at) => version !== versions[at - 1]), isNew };
  };

  test('runs end where they began, what lives long goes on under the new code, and then the old workers can go', async () => {
    const nextBundle = bundleOfNextVersion();
    const old = await stack.startWorker({ environment: { SPENDLOCK_BUILD_ID: 'old' } });
    await promote('old');
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
    const waiting = await stack.start({ tenantId, tools: [{ name: 'run_code', requiresApproval: true }] });
    const asked = await until('a person is asked', async () =>
      (await listApprovals(stack.pool, { tenantId, runId: waiting.runId })).approvals.find(
        ({ status }) => status === 'pending',
      ),
    );
    const talk = await TestConversation.start(api, tenantId);
    stack.anthropic.knobs.replies = [{ text: 'first' }];
    await talk.say('First.');

    const young = await stack.startWorker({
      environment: { SPENDLOCK_BUILD_ID: 'new', SPENDLOCK_TEST_BUNDLE: await nextBundle },
    });
    expect((await workers('list')).find(({ buildId }) => buildId === 'old')).toMatchObject({ percent: 100 });
    await promote('new');
    expect((await workers('list')).find(({ buildId }) => buildId === 'new')).toMatchObject({ percent: 100 });

    stack.anthropic.knobs.replies = [{ text: 'second' }];
    expect((await talk.say('Second.')).at(-1)).toMatchObject({ data: { status: 'completed' } });
    expect(await tasksOf(talk.workflowId)).toEqual({ versions: ['old', 'new'], isNew: true });

    stack.anthropic.knobs.replies = [{ text: 'three' }];
    const begun = await stack.run({ tenantId });
    expect(begun.status).toBe('completed');
    expect(await tasksOf(begun.workflowId)).toEqual({ versions: ['new'], isNew: true });

    stack.anthropic.knobs.replies = [{ text: 'one' }];
    await api.admin.approvals.approve(asked.approvalId, { tenantId });
    expect((await stack.finish({ tenantId, ...waiting })).status).toBe('completed');
    expect(await tasksOf(waiting.workflowId)).toEqual({ versions: ['old'], isNew: false });
    // Under its mandate it may have had nothing to do since: here it has.
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await until('the new version serves the tenant’s authority', async () =>
      (await tasksOf(budgetWorkflowId(tenantId))).versions.at(-1) === 'new' ? true : undefined,
    );

    await old.stop();
    stack.anthropic.knobs.replies = [{ text: 'third' }];
    expect((await talk.say('Third.')).at(-1)).toMatchObject({ data: { status: 'completed' } });
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    await young.stop();
  });

  test('a version that there is not cannot be promoted', async () => {
    await expect(workers('promote', 'nothing')).rejects.toThrow('There is no version "nothing"');
  });
});
