/** The run of `npm start`: whether there is one, what is asked, for whom, at what cost at most, and what came of it. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createSpendlockClient, QuotaExceededError, SpendlockApiError, type RunView } from '../../client';
import { formatUsdFixed, parseUsd } from '../../core/money';
import { findModelPrice } from '../../core/prices/prices';
import { readPrices } from '../../store/prices';
import { listRuns } from '../../store/run-lists';
import { DEMO_FILE, DEMO_TASK } from '../stand-ins';
import { makeBudgetTenant } from './budget-tenant';
import type { StartOptions } from './options';
import type { Progress } from './progress';
import { realKeys, type Unreachable } from './real-services';
import { demoTenantId, type Stack } from './stack';
import { refusedSummary, summaryOf, type RunSummary } from './summary';

export interface TaskPlan {
  tenantId: string;
  task: string;
  file?: { name: string; content: Buffer };
  model: string;
  /** With a real service: the most that the run can spend. */
  maxCostNotice?: string;
  maxCostUsd?: string;
}

export interface TaskResult {
  /** Absent when it was refused before it was started. */
  run?: RunView;
  summary: RunSummary;
  seconds: number;
}

/** With real services a run stops here, whatever the quota: a first try should not cost more than a coffee. */
const realRunMaxUsd = '1.00';

/** Why no run is made; undefined when one is: it was asked for, or nothing ever ran here and it costs nothing. */
export async function whyNoRun({ pool }: Stack, options: StartOptions): Promise<string | undefined> {
  const { task, example, once, budgetUsd } = options;
  if (task !== undefined || example || once || budgetUsd !== undefined) return undefined;
  const keys = realKeys(process.env);
  if (keys.length > 0)
    return (
      `${keys.join(' and ')} ${keys.length === 1 ? 'is' : 'are'} set: the example was not run, since nothing is spent unasked. ` +
      `npm start -- --example runs it, for at most $${realRunMaxUsd}.`
    );
  if ((await listRuns(pool, { tenantId: demoTenantId, type: 'task', limit: 1 })).length > 0)
    return 'Nothing was run, since that is for the first start. npm start -- --example runs the example again; --task "…" --file data.csv runs a task of yours.';
  return undefined;
}

/** @throws Error when a real service that the run needs cannot be reached. */
export async function planTask(
  stack: Stack,
  options: StartOptions,
  unreachable: readonly Unreachable[],
): Promise<TaskPlan> {
  const { models } = await readPrices(stack.pool);
  const { provider } = findModelPrice(models, { model: stack.model, at: Date.now() });
  const missing = unreachable.filter(({ id }) => id === 'e2b' || id === provider);
  if (missing.length > 0)
    throw new Error(`${missing.map(({ says }) => says).join('\n')}\nThe run was not started; nothing was spent.`);
  const isReal = realKeys(process.env).length > 0;
  const tenantId =
    options.budgetUsd === undefined
      ? demoTenantId
      : await makeBudgetTenant(stack, { budgetUsd: options.budgetUsd, isReal });
  const filePath =
    options.file ?? (options.task === undefined ? path.join(__dirname, '..', '..', DEMO_FILE) : undefined);
  const plan: TaskPlan = {
    tenantId,
    task: options.task ?? DEMO_TASK,
    model: stack.model,
    ...(filePath === undefined ? {} : { file: { name: path.basename(filePath), content: await readFile(filePath) } }),
  };
  if (!isReal) return plan;
  const binding =
    options.budgetUsd !== undefined && parseUsd(options.budgetUsd) < parseUsd(realRunMaxUsd)
      ? options.budgetUsd
      : realRunMaxUsd;
  return {
    ...plan,
    maxCostUsd: realRunMaxUsd,
    maxCostNotice: `This run can spend at most $${binding}: a step that could cost more than what is left of it is not made.`,
  };
}

/** Runs the task through the API, as a backend would. Undefined when it was interrupted. */
export async function runTask(
  stack: Stack,
  plan: TaskPlan,
  progress: Progress,
  signal: AbortSignal,
): Promise<TaskResult | undefined> {
  const client = createSpendlockClient({ baseUrl: stack.apiUrl, apiKey: stack.apiKey });
  const { tenantId, task, model, file, maxCostUsd } = plan;
  const startedMs = Date.now();
  progress.line(`\nTask: ${task}${file ? `\nFile: ${file.name} (${file.content.length} bytes)` : ''}\n`);
  const asked = {
    ...{ task, tenantId, model },
    ...(file ? { file } : {}),
    ...(maxCostUsd === undefined ? {} : { limits: { maxCostUsd } }),
  };
  const started = await client.runs.start(asked).catch((error: unknown) => {
    if (error instanceof SpendlockApiError) return error;
    throw error;
  });
  const seconds = (): number => (Date.now() - startedMs) / 1000;
  if (started instanceof QuotaExceededError) return { summary: refusedSummary(plan, started), seconds: seconds() };
  if (started instanceof SpendlockApiError) throw started;
  const { runId } = started;
  progress.waitFor(`${model} answers`);
  try {
    for await (const event of client.runs.events(runId, { tenantId, signal })) tell(progress, model, event);
  } catch (error) {
    if (!signal.aborted) throw error;
    // What it has open is settled before the worker goes.
    await client.runs.cancel(runId, tenantId).catch(() => undefined);
    return undefined;
  } finally {
    progress.waitFor(undefined);
  }
  const run = await client.runs.get(runId, tenantId);
  return { run, summary: summaryOf(run), seconds: seconds() };
}

/** Says what happened, and what is waited for next. */
function tell(
  progress: Progress,
  model: string,
  { type, data }: { type: string; data: Record<string, unknown> },
): void {
  const usd = (value: unknown): string => `$${formatUsdFixed(parseUsd(String(value)), 6)}`;
  if (type === 'model.replied') {
    progress.waitFor(data.stopReason === 'tool_use' ? 'The sandbox runs the program' : 'The run ends');
    progress.line(`  model replied (${String(data.stopReason)}), ${usd(data.costUsd)}`);
  } else if (type === 'code.executed') {
    progress.waitFor(`${model} answers`);
    progress.line(`  code ran${Number(data.failed) > 0 ? ' and failed' : ''}`);
  } else if (type === 'sandbox.ended')
    progress.line(`  sandbox ended after ${String(data.seconds)} s, ${usd(data.costUsd)}`);
}
