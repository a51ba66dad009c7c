/** The tools that a step calls for, those that have a price paid as a step of their own. */
import type { ToolCall } from '../../contracts/llm';
import type { AgentRunInput } from '../../contracts/messages';
import { isToolName, priceOfTool } from '../../core/agent/tools';
import { formatUsd, sumUsd } from '../../core/money';
import { isPatched } from '../patches';
import type { Budget } from '../budget/with-budget';
import { expiryMarginSeconds, modelCallSecondsMax } from './llm-activities';
import type { SandboxSession } from './sandbox-session';

interface ToolParts {
  input: AgentRunInput;
  budget: Budget;
  sandbox: SandboxSession;
}

export async function runTools(
  { input, budget, sandbox }: ToolParts,
  step: number,
  calls: readonly ToolCall[],
): Promise<void> {
  const needs = { count: calls.length, needSandbox: calls.some(needsSandbox) };
  const pricesUsd = Object.fromEntries(
    calls.flatMap(({ name }) => {
      const priceUsd = input.tools?.[name]?.priceUsd;
      return priceUsd === undefined ? [] : [[name, priceUsd]];
    }),
  );
  if (Object.keys(pricesUsd).length === 0) return sandbox.execute(step, needs);
  if (needs.needSandbox) await sandbox.ready(step);
  const amountUsd = formatUsd(sumUsd(calls.map(({ name }) => priceOfTool(pricesUsd, name))));
  const { executionSeconds = modelCallSecondsMax } = input;
  await budget.withBudget(
    {
      resource: 'tool',
      kind: 'tool.call',
      amountUsd,
      priceVersion: 'run',
      ttlSeconds: executionSeconds * calls.length + 2 * expiryMarginSeconds,
      step,
    },
    ({ operationId }) => sandbox.executePaid(step, { operationId, pricesUsd, ...needs }),
  );
}

/** What only answers, or is no tool at all, needs none. */
const needsSandbox = ({ name }: ToolCall): boolean =>
  name !== 'ask_person' && (isToolName(name) || !isPatched('refused-tools'));
