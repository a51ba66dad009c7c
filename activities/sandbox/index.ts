/**
 * The sandbox activities. A sandbox is billed by the second while it runs, so its reservation stays claimed from its
 * creation until it is ended, and covers one window, at whose end the provider ends it by itself.
 */
import { Context } from '@temporalio/activity';
import type { Logger } from 'pino';
import { formatUsd } from '../../core/money';
import { costOfSandbox, estimateSandbox, findSandboxPrice, type SandboxPrice } from '../../core/sandbox-prices';
import type { Pool } from '../../store/pool';
import { appendRunEvent, readRunFile } from '../../store/runs';
import { findOperation } from '../../store/reservations';
import type { PriceList } from '../../store/prices';
import { appendToTranscript, readTranscript, replySequence, toolResultSequence } from '../../store/transcripts';
import type { PaidStep } from '../budget/paid-step';
import type {
  CreateSandbox,
  ExecuteCode,
  OpenSandbox,
  SandboxActivities,
  SandboxPlan,
  TerminateSandbox,
} from '../contracts/sandbox';
import { asFailure, failure } from '../failures';
import { withHeartbeats } from '../heartbeat';
import { attachedFilePath, type CodeLanguage } from '../llm/agent-prompt';
import { runTool, type ToolResult, type ToolUse } from './execute';
import { connectSandbox, createSandbox, findByOperation, killSandbox, type SandboxConnection } from './provider';
import { createFailure, isGone } from './provider-errors';

export interface SandboxDependencies {
  pool: Pool;
  connection: SandboxConnection;
  prices: () => Promise<PriceList>;
  paidStep: PaidStep;
  log: Logger;
  codeLanguages: readonly CodeLanguage[];
}

/** One program may run this long, and never past its sandbox's window. */
const executionMsMax = 120_000;

export function createSandboxActivities(dependencies: SandboxDependencies): SandboxActivities {
  return {
    prepareSandbox: (request) => prepareSandbox(dependencies, request),
    createSandbox: (request) => withHeartbeats(() => create(dependencies, request)),
    executeCode: (request) => withHeartbeats(() => execute(dependencies, request)),
    terminateSandbox: (request) => withHeartbeats(() => terminate(dependencies, request)),
  };
}

async function prepareSandbox(
  { prices }: SandboxDependencies,
  { tier, windowSeconds }: { tier: string; windowSeconds: number },
): Promise<SandboxPlan> {
  const { sandboxes } = await prices();
  try {
    const price = findSandboxPrice(sandboxes, { tier, at: Date.now() });
    const amountUsd = formatUsd(estimateSandbox(price, { seconds: windowSeconds }));
    return { tier, windowSeconds, priceVersion: price.priceVersion, amountUsd };
  } catch (error) {
    throw asFailure(error, ['unpriced_sandbox', 'invalid_price']);
  }
}

async function create(dependencies: SandboxDependencies, request: CreateSandbox): Promise<OpenSandbox> {
  const { connection, paidStep, log, pool, prices } = dependencies;
  const { tenantId, runId, operationId, plan } = request;
  const [file, { sandboxes }] = await Promise.all([readRunFile(pool, request), prices()]);
  const claim = await paidStep.claim(request);
  let created;
  try {
    created = await createSandbox(connection, { operationId, runId, windowSeconds: plan.windowSeconds });
    await paidStep.atPoint('sandbox.created');
  } catch (error) {
    const failed = createFailure(error);
    log.warn({ tenantId, runId, operationId, made: failed.made, code: failed.code }, 'a sandbox could not be created');
    if (failed.made === 'no') await paidStep.settle(claim, { billed: false, reason: failed.code });
    throw failure(failed.code, failed.message, { settled: failed.made === 'no', retry: failed.retry });
  }
  const { sandbox, shape, startedAtMs } = created;
  try {
    const price = findSandboxPrice(sandboxes, { ...shape, at: startedAtMs });
    if (file) await sandbox.files.write(attachedFilePath(file.name), new Blob([new Uint8Array(file.content)]));
    log.info({ tenantId, runId, operationId, sandboxId: sandbox.sandboxId }, 'sandbox created');
    const { windowSeconds } = plan;
    return { sandboxId: sandbox.sandboxId, operationId, priceVersion: price.priceVersion, startedAtMs, windowSeconds };
  } catch (error) {
    // It runs but is of no use: the workflow ends it, which also writes what its seconds cost.
    const unpriced = asFailure(error, ['unpriced_sandbox']);
    if (unpriced !== error) throw unpriced;
    log.warn(
      { tenantId, runId, operationId, error: (error as Error).name },
      'a file could not be brought into a sandbox',
    );
    const message = 'The file could not be brought into the sandbox, which was ended. Its seconds were charged.';
    throw failure('sandbox_failed', message, { settled: false, retry: true });
  }
}

const windowEndMs = ({ startedAtMs, windowSeconds }: OpenSandbox): number => startedAtMs + windowSeconds * 1000;

async function execute(dependencies: SandboxDependencies, request: ExecuteCode): Promise<{ sandboxGone: boolean }> {
  const { connection, codeLanguages, pool, log } = dependencies;
  const { tenantId, runId, sandbox: open, step } = request;
  const uses = await toolUses(pool, request);
  const held = await findOperation(pool, { tenantId, operationId: open.operationId });
  const remainingMs = windowEndMs(open) - Date.now();
  // Its money is checked before each use: a sandbox whose reservation has ended is not used.
  let sandboxGone = !held?.claimed || held.status !== 'granted' || remainingMs <= 0;
  const results: ToolResult[] = [];
  try {
    const sandbox = sandboxGone
      ? undefined
      : await connectSandbox(connection, { sandboxId: open.sandboxId, remainingMs });
    for (const use of sandbox ? uses : []) {
      if (!sandbox) break;
      const timeoutMs = Math.max(1_000, Math.min(executionMsMax, windowEndMs(open) - Date.now()));
      results.push(await runTool(use, { sandbox, languages: codeLanguages, timeoutMs }));
    }
  } catch (error) {
    if (Context.current().cancellationSignal.aborted) throw error;
    sandboxGone = sandboxGone || isGone(error);
    log.warn({ tenantId, runId, step, sandboxGone, error: (error as Error).name }, 'code could not be run to its end');
    if (!sandboxGone)
      throw failure('sandbox_failed', `The sandbox did not run the code to its end (${(error as Error).name}).`);
  }
  for (const use of uses.slice(results.length)) {
    const content =
      'The sandbox ended before this program did; its files are gone. A new one is made for the next program.';
    results.push({ type: 'tool_result', tool_use_id: use.id, content, is_error: true });
  }
  await appendToTranscript(
    pool,
    { tenantId, runId, sequence: toolResultSequence(step), role: 'user', content: results },
    {
      key: `code-${step}`,
      type: 'code.executed',
      data: { step, programs: uses.length, failed: results.filter((result) => result.is_error).length },
    },
  );
  return { sandboxGone };
}

async function toolUses(pool: Pool, { tenantId, runId, step }: ExecuteCode): Promise<ToolUse[]> {
  const transcript = await readTranscript(pool, { tenantId, runId });
  const reply = transcript.find((message) => message.sequence === replySequence(step));
  return ((reply?.content ?? []) as { type: string }[]).filter((block): block is ToolUse => block.type === 'tool_use');
}

async function terminate(dependencies: SandboxDependencies, request: TerminateSandbox): Promise<void> {
  const { connection, paidStep, pool, log, prices } = dependencies;
  const { tenantId, runId, operationId, plan, sandbox } = request;
  const held = await findOperation(pool, { tenantId, operationId });
  if (!held?.claimed || held.outcome !== undefined) return;
  const { sandboxes } = await prices();
  const priceOf = (version: string): SandboxPrice | undefined =>
    sandboxes.find((price) => price.priceVersion === version);
  const running = sandbox
    ? [{ sandboxId: sandbox.sandboxId, startedAtMs: sandbox.startedAtMs, price: priceOf(sandbox.priceVersion) }]
    : (await findByOperation(connection, operationId)).map((found) => ({
        ...found,
        price: priceOf(plan.priceVersion),
      }));
  // None to be found, and nobody knows whether there was one: the commit charges the estimate as unverified.
  if (running.length === 0) return;
  let costUsd = 0n;
  let seconds = 0;
  for (const { sandboxId, startedAtMs, price } of running) {
    await killSandbox(connection, sandboxId);
    if (!price)
      throw failure(
        'unpriced_sandbox',
        `A price of the sandbox ${sandboxId} is gone. It was ended; the estimate is charged.`,
      );
    // It may have ended itself at the end of its window, never later.
    const ranSeconds = Math.min(Math.max(0, Math.ceil((Date.now() - startedAtMs) / 1000)), plan.windowSeconds);
    seconds += ranSeconds;
    costUsd += costOfSandbox(price, { seconds: ranSeconds });
  }
  log.info({ tenantId, runId, operationId, seconds }, 'sandbox ended');
  await paidStep.settle({ tenantId, operationId }, { billed: true, costUsd, usage: { seconds } }, async (client) => {
    const data = { operationId, seconds, costUsd: formatUsd(costUsd) };
    await appendRunEvent(client, runId, { key: `sandbox-ended-${operationId}`, type: 'sandbox.ended', data });
  });
}
