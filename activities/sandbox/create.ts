/** Making a sandbox, with the run's file in it. */
import { estimateSandbox, findSandboxPrice } from '../../core/prices/sandbox-prices';
import { formatUsd } from '../../core/money';
import { readRunFile } from '../../store/run-files';
import { findRun } from '../../store/runs';
import { readInstallationId } from '../../store/sandboxes';
import { spanNames } from '../../telemetry/names';
import { inSpan } from '../../telemetry/spans';
import type { CreateSandbox, OpenSandbox, SandboxPlan } from '../../contracts/sandbox';
import { asFailure, failure } from '../failures';
import { attachedFilePath } from '../llm/instructions';
import type { SandboxDependencies } from './dependencies';
import { recordE2BError } from './errors';
import { createSandbox } from './provider';
import { createFailure } from './provider-errors';

export async function prepare(
  { prices, clock }: SandboxDependencies,
  { tier, windowSeconds }: { tier: string; windowSeconds: number },
): Promise<SandboxPlan> {
  const { sandboxes } = await prices();
  try {
    const price = findSandboxPrice(sandboxes, { tier, at: clock.nowMs() });
    const amountUsd = formatUsd(estimateSandbox(price, { seconds: windowSeconds }));
    return { tier, windowSeconds, priceVersion: price.priceVersion, amountUsd };
  } catch (error) {
    throw asFailure(error, ['unpriced_sandbox', 'invalid_price']);
  }
}

export async function create(dependencies: SandboxDependencies, request: CreateSandbox): Promise<OpenSandbox> {
  const { connection, paidCalls, log, pool, prices } = dependencies;
  const { tenantId, runId, operationId, plan } = request;
  const [file, run, installationId, { sandboxes }] = await Promise.all([
    readRunFile(pool, request),
    findRun(pool, request),
    readInstallationId(pool),
    prices(),
  ]);
  const { template } = (run?.options.sandbox ?? {}) as { template?: string };
  return inSpan(spanNames.executionContext, { runId, operationId }, async () => {
    const claim = await inSpan(spanNames.sandboxQuotaCheck, { operationId }, () => paidCalls.claim(request));
    let created;
    try {
      const owner = { installationId, tenantId, runId, operationId };
      const order = { owner, windowSeconds: plan.windowSeconds, template };
      created = await inSpan(spanNames.sandboxCreate, { tier: plan.tier }, () => createSandbox(connection, order));
      await paidCalls.atPoint('sandbox.created');
    } catch (error) {
      const failed = createFailure(error);
      // A provider that is full is no error: the run waits for room.
      if (!failed.waits) {
        await recordE2BError(dependencies, {
          ...{ tenantId, runId, tier: plan.tier, key: operationId },
          operation: 'create',
          errorType: failed.code,
        });
      }
      if (failed.made === 'no') await paidCalls.settle(claim, { billed: false, reason: failed.code });
      const { retry, waits = false } = failed;
      throw failure(failed.code, failed.message, { settled: failed.made === 'no', retry, ...(waits ? { waits } : {}) });
    }
    const { sandbox, shape, startedAtMs } = created;
    const { sandboxId } = sandbox;
    try {
      const price = findSandboxPrice(sandboxes, { ...shape, at: startedAtMs });
      await inSpan(spanNames.sandboxContext, { sandboxId }, async () => {
        if (file) await sandbox.files.write(attachedFilePath(file.name), new Blob([new Uint8Array(file.content)]));
      });
      log.info({ tenantId, runId, operationId, sandboxId }, 'sandbox created');
      const { windowSeconds } = plan;
      return { sandboxId, operationId, priceVersion: price.priceVersion, startedAtMs, windowSeconds };
    } catch (error) {
      // It runs but is of no use: the workflow ends it, which also writes what its seconds cost.
      const unpriced = asFailure(error, ['unpriced_sandbox']);
      const errorType = unpriced === error ? (error as Error).name : 'unpriced_sandbox';
      const lifecycleStage = 'initialization';
      const known = { tenantId, runId, sandboxId, tier: plan.tier, key: operationId };
      await recordE2BError(dependencies, { ...known, operation: 'create', errorType, lifecycleStage });
      if (unpriced !== error) throw unpriced;
      const message = 'The file could not be brought into the sandbox, which was ended. Its seconds were charged.';
      throw failure('sandbox_failed', message, { settled: false, retry: true });
    }
  });
}
