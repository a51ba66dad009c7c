/** Runs the tool calls of one step and writes their output to the transcript, from which they were read. */
import { Context } from '@temporalio/activity';
import type { Sandbox } from '@e2b/code-interpreter';
import { priceOfTool } from '../../core/agent/tools';
import { sumUsd } from '../../core/money';
import { storableText } from '../../core/storable';
import { readApprovals } from '../../store/approvals';
import { asTenant, type PoolClient } from '../../store/pool';
import { findOperation } from '../../store/reservations';
import { appendRunEvent, findRun } from '../../store/runs';
import {
  readStep,
  readTranscript,
  replySequence,
  toolResultSequence,
  writeTranscriptMessage,
} from '../../store/transcripts';
import { sandboxDefaults, type ExecuteCode, type Executed, type RunPaidTools } from '../../contracts/sandbox';
import { failure } from '../failures';
import { ownToolsOf, toolsOf } from '../llm/instructions';
import { noteBeginning } from '../own-time';
import type { Block } from '../llm/model-provider';
import type { SandboxDependencies } from './dependencies';
import { recordE2BError } from './errors';
import { runTool, type ToolOutcome, type ToolUse } from './execute';
import { patiently } from './patience';
import { connectSandbox } from './provider';
import { ownToolCaller } from './own-tools';
import { isGone } from './provider-errors';
import { windowEndMs } from './windows';

/** A provider that does not answer is asked again for so long before the model is told. */
const reachingMs = 20_000;

export async function runTools(dependencies: SandboxDependencies, request: ExecuteCode): Promise<Executed> {
  if (await haveRun(dependencies, request)) return { sandboxGone: false };
  const { outcomes, stopped, executed } = await carryOut(dependencies, request);
  // They have run: they are not run again because nobody could write down what they said.
  await dependencies.paidCalls.patiently('what programs said', () =>
    asTenant(dependencies.pool, request.tenantId, (client) => keep(client, request, outcomes)),
  );
  stopIf(stopped);
  return executed;
}

/** Claims, runs, and writes what was used with its output. */
export async function runPaidTools(dependencies: SandboxDependencies, request: RunPaidTools): Promise<Executed> {
  const { paidCalls } = dependencies;
  const { pricesUsd } = request;
  if (await haveRun(dependencies, request)) {
    paidCalls.giveBack(request);
    return { sandboxGone: false };
  }
  return paidCalls.underClaim(request, async (claim) => {
    const { outcomes, stopped, executed: result } = await carryOut(dependencies, request);
    const used = outcomes.flatMap(({ name, used }) => (used ? [name] : []));
    const costUsd = sumUsd(used.map((name) => priceOfTool(pricesUsd, name)));
    const isUnverified = outcomes.some((outcome) => outcome.isUnverified && priceOfTool(pricesUsd, outcome.name) > 0n);
    const outcome = { billed: true as const, costUsd, usage: { tools: used }, result };
    await paidCalls.settle(claim, isUnverified ? { ...outcome, isUnverified } : outcome, (client) =>
      keep(client, request, outcomes),
    );
    stopIf(stopped);
    return result;
  });
}

/** A repeat (after a lost worker, or a workflow that was reset) goes on with what was said: nothing runs twice. */
const haveRun = ({ paidCalls, pool }: SandboxDependencies, request: ExecuteCode): Promise<boolean> =>
  paidCalls.patiently('what programs said', async () => (await readStep(pool, request)).toolsAnswered);

/** Whoever told the programs to stop is told that they did. */
function stopIf(stopped: boolean): void {
  if (stopped) Context.current().cancellationSignal.throwIfAborted();
}

interface CarriedOut {
  outcomes: (ToolOutcome & Pick<ToolUse, 'name' | 'input'>)[];
  executed: Executed;
  stopped: boolean;
}

async function carryOut(dependencies: SandboxDependencies, request: ExecuteCode): Promise<CarriedOut> {
  noteBeginning();
  const { codeLanguages, pool, paidCalls, clock } = dependencies;
  const { tenantId, runId, sandbox: open, step, executionSeconds = sandboxDefaults.executionSeconds } = request;
  const [uses, approvals, run] = await paidCalls.patiently('what is to be run', () =>
    Promise.all([toolUses(dependencies, request), readApprovals(pool, request), findRun(pool, request)]),
  );
  if (!run) throw failure('not_found', `There is no run ${runId}. Nothing was run.`);
  const tools = toolsOf(run);
  const allowed = new Set<string>(tools.map(({ name }) => name));
  const timeoutMs = executionSeconds * 1000;
  const callerOf = ownToolCaller(dependencies, { request, own: ownToolsOf(run), timeoutMs });
  const { cancellationSignal: signal } = Context.current();
  const outcomes: CarriedOut['outcomes'] = [];
  let sandboxGone = false;
  let lastSeenAtMs: number | undefined;
  let why = 'It was not run: the step was stopped before.';
  try {
    const sandbox = open && (await reach(dependencies, request));
    sandboxGone = open !== undefined && sandbox === undefined;
    if (sandbox) lastSeenAtMs = clock.nowMs();
    for (const use of sandboxGone ? [] : uses) {
      if (signal.aborted) break;
      const approval = approvals.find(({ toolUseId }) => toolUseId === use.id);
      const options = {
        sandbox,
        languages: codeLanguages,
        timeoutMs,
        approval,
        needsApproval: tools.some(({ name, requiresApproval }) => name === use.name && requiresApproval === true),
        signal,
        allowed,
        callOwn: callerOf(use.name),
      };
      outcomes.push({ name: use.name, input: use.input, ...(await runTool(use, options)) });
      if (sandbox) lastSeenAtMs = clock.nowMs();
    }
  } catch (error) {
    const { sandboxId = '' } = open ?? {};
    sandboxGone = isGone(error);
    const errorType = (error as Error).name;
    if (!sandboxGone) {
      await recordE2BError(dependencies, {
        tenantId,
        runId,
        sandboxId,
        operation: 'execute',
        errorType,
        key: `${step}`,
      });
      why = `The sandbox did not answer (${errorType}, stage execution): it was not run. Try again.`;
    }
  }
  if (sandboxGone) {
    const { sandboxId = '' } = open ?? {};
    const gone = { tenantId, runId, sandboxId, operation: 'execute', errorType: 'sandbox_gone' } as const;
    await recordE2BError(dependencies, { ...gone, key: `${step}` });
    why =
      'The sandbox ended before this program did (stage execution); its files are gone. A new one is made for the next program.';
  }
  for (const { id, name, input } of uses.slice(outcomes.length)) {
    const result = { type: 'tool_result' as const, tool_use_id: id, content: why, is_error: true };
    outcomes.push({ name, input, used: false, ran: sandboxGone, result });
  }
  const executed = { sandboxGone, ...(lastSeenAtMs === undefined ? {} : { lastSeenAtMs }) };
  return { outcomes, executed, stopped: signal.aborted };
}

/** The sandbox, if it runs and somebody pays for it. */
async function reach(
  { connection, pool, paidCalls, clock }: SandboxDependencies,
  { tenantId, sandbox: open }: ExecuteCode,
): Promise<Sandbox | undefined> {
  if (!open) return undefined;
  const { operationId } = open;
  const held = await paidCalls.patiently('the money of a sandbox', () =>
    findOperation(pool, { tenantId, operationId }),
  );
  const remainingMs = windowEndMs(open) - clock.nowMs();
  // Its money is checked before each use: a sandbox whose reservation has ended is not used.
  if (!held?.claimed || held.status !== 'granted' || remainingMs <= 0) return undefined;
  return patiently(() => connectSandbox(connection, { sandboxId: open.sandboxId, remainingMs }), { forMs: reachingMs });
}

async function toolUses({ pool }: SandboxDependencies, { tenantId, runId, step }: ExecuteCode): Promise<ToolUse[]> {
  const [reply] = await readTranscript(pool, { tenantId, runId, afterSequence: replySequence(step) - 1, limit: 1 });
  return ((reply?.content ?? []) as Block[]).filter((block): block is ToolUse => block.type === 'tool_use');
}

/** How much of a program, and of what it printed, an event quotes: the transcript has all of it. */
const quotedChars = 4_000;

function shown(text: unknown): string | null {
  if (typeof text !== 'string') return null;
  return text.length <= quotedChars ? text : storableText(`${text.slice(0, quotedChars)}…`);
}

async function keep(
  client: PoolClient,
  { tenantId, runId, step }: ExecuteCode,
  outcomes: CarriedOut['outcomes'],
): Promise<void> {
  const content = outcomes.map(({ result }) => result);
  await writeTranscriptMessage(client, {
    tenantId,
    runId,
    sequence: toolResultSequence(step),
    role: 'user',
    content,
  });
  const failed = content.filter((result) => result.is_error).length;
  const programs = outcomes.filter(({ ran }) => ran).length;
  const data = {
    step,
    programs,
    failed,
    tools: outcomes.map(({ name }) => name),
    // Under names that `forget_transcripts` takes out of events.
    code: outcomes.map(({ input }) => shown((input as { code?: unknown } | null)?.code)),
    output: content.map((result) => shown(result.content)),
  };
  // Where a person answered, or the call itself or a person stood in its way, nobody is told that code ran.
  const type = programs > 0 ? 'code.executed' : 'tools.answered';
  await appendRunEvent(client, runId, { key: `code-${step}`, type, data });
}
