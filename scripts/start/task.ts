/** The run of `npm start`: what is asked, for whom, at what cost at most, and what came of it. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createSpendlockClient, type RunView } from '../../client';
import type { QuotaAmounts } from '../../core/budget/quotas';
import { formatUsdFixed, parseUsd } from '../../core/money';
import { findModelPrice } from '../../core/prices/prices';
import { readPrices } from '../../store/prices';
import { setQuotas } from '../../store/quotas';
import { createTenant } from '../../store/tenants';
import { DEMO_FILE, DEMO_TASK } from '../stand-ins';
import type { StartOptions } from './options';
import type { Progress } from './progress';
import { demoTenantId, type Stack } from './stack';

export interface TaskPlan {
  tenantId: string;
  task: string;
  file?: { name: string; content: Buffer };
  model: string;
  /** With a real service: the most that the run can spend. */
  maxCostNotice?: string;
  maxCostUsd?: string;
}

/** What `--json` prints. */
export interface RunSummary {
  runId: string;
  workflowId: string;
  status: RunView['status'];
  costUsd: string;
  quota: QuotaAmounts;
  steps: {
    operationId: string;
    kind: string;
    resource: string;
    reservedUsd: string | null;
    committedUsd: string | null;
    settlement: string | null;
  }[];
}

export interface TaskResult {
  run: RunView;
  summary: RunSummary;
  seconds: number;
}

/** With real services a run stops here, whatever the quota: a first try should not cost more than a coffee. */
const realRunMaxUsd = '1.00';

export async function planTask(stack: Stack, options: StartOptions): Promise<TaskPlan> {
  const tenantId = options.budgetUsd === undefined ? demoTenantId : await budgetTenant(stack, options.budgetUsd);
  const filePath =
    options.file ?? (options.task === undefined ? path.join(__dirname, '..', '..', DEMO_FILE) : undefined);
  const plan: TaskPlan = {
    tenantId,
    task: options.task ?? DEMO_TASK,
    model: stack.model,
    ...(filePath === undefined ? {} : { file: { name: safeName(filePath), content: await readFile(filePath) } }),
  };
  findModelPrice((await readPrices(stack.pool)).models, { model: stack.model, at: Date.now() });
  const { anthropic, e2b } = stack.standIns;
  if (anthropic && e2b) return plan;
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

/** A file name that the sandbox and the API take. */
const safeName = (filePath: string): string =>
  path
    .basename(filePath)
    .replace(/[^A-Za-z0-9._ -]/g, '_')
    .replace(/^[^A-Za-z0-9_]/, '_');

async function budgetTenant({ pool }: Stack, budgetUsd: string): Promise<string> {
  const tenantId = `budget-${randomUUID().slice(0, 8)}`;
  await createTenant(pool, { tenantId, name: `A tenant with a budget of $${budgetUsd}` });
  const quota = { scope: 'tenant' as const, scopeId: tenantId, period: 'month' as const };
  await setQuotas(pool, { tenantId, changes: [{ ...quota, resourceType: 'all', limitUsd: budgetUsd }] });
  return tenantId;
}

/** Runs the task through the API, as a backend would. Undefined when it was interrupted. */
export async function runTask(
  stack: Stack,
  plan: TaskPlan,
  progress: Progress,
  signal: AbortSignal,
): Promise<TaskResult | undefined> {
  const client = createSpendlockClient({ baseUrl: stack.apiUrl, apiKey: stack.apiKey });
  const { tenantId } = plan;
  const startedMs = Date.now();
  progress.line(
    `\nTask: ${plan.task}${plan.file ? `\nFile: ${plan.file.name} (${plan.file.content.length} bytes)` : ''}\n`,
  );
  const { runId } = await client.runs.start({
    task: plan.task,
    tenantId,
    model: plan.model,
    ...(plan.file ? { file: plan.file } : {}),
    ...(plan.maxCostUsd === undefined ? {} : { limits: { maxCostUsd: plan.maxCostUsd } }),
  });
  try {
    for await (const event of client.runs.events(runId, { tenantId, signal })) tell(progress, event);
  } catch (error) {
    if (!signal.aborted) throw error;
    // What it has open is settled before the worker goes.
    await client.runs.cancel(runId, tenantId).catch(() => undefined);
    return undefined;
  }
  const run = await client.runs.get(runId, tenantId);
  const quota = run.quota ?? { limitUsd: '0', topupUsd: '0', spentUsd: '0', reservedUsd: '0' };
  const summary: RunSummary = {
    runId,
    workflowId: run.workflowId,
    status: run.status,
    costUsd: run.costUsd,
    quota,
    steps: run.steps.map(({ operationId, kind, resource, reservedUsd, committedUsd, settlement }) => ({
      operationId,
      kind,
      resource,
      reservedUsd,
      committedUsd,
      settlement,
    })),
  };
  return { run, summary, seconds: (Date.now() - startedMs) / 1000 };
}

function tell(progress: Progress, { type, data }: { type: string; data: Record<string, unknown> }): void {
  const usd = (value: unknown): string => `$${formatUsdFixed(parseUsd(String(value)), 6)}`;
  if (type === 'model.replied') progress.line(`  model replied (${String(data.stopReason)}), ${usd(data.costUsd)}`);
  else if (type === 'code.executed') progress.line(`  code ran${Number(data.failed) > 0 ? ' and failed' : ''}`);
  else if (type === 'sandbox.ended')
    progress.line(`  sandbox ended after ${String(data.seconds)} s, ${usd(data.costUsd)}`);
}

export const exitStatusOf = (status: RunView['status']): number =>
  status === 'completed' ? 0 : status === 'quota_exceeded' ? 3 : 1;
