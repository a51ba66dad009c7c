/** Calls of a tenant's own tools, each once: a repeat of their step (after a lost worker) calls none of them again. */
import { randomUUID } from 'node:crypto';
import type { OwnTool } from '../../core/agent/own-tools';
import type { ExecuteCode } from '../../contracts/sandbox';
import { beginToolCall, findTool } from '../../store/tools';
import type { ToolAnswer } from '../../tools/answers';
import { callOwnTool } from '../../tools/call';
import { callSignal } from '../own-time';
import type { SandboxDependencies } from './dependencies';
import type { ToolUse } from './execute';

/** What calls a tool by its name; undefined of what is none of the tenant's own. */
export function ownToolCaller(
  { pool, paidCalls, tools }: SandboxDependencies,
  { request, own, timeoutMs }: { request: ExecuteCode; own: readonly OwnTool[]; timeoutMs: number },
): (name: string) => ((use: ToolUse) => Promise<ToolAnswer>) | undefined {
  const { tenantId, runId, step } = request;
  return (name) => {
    const tool = own.find((one) => one.name === name);
    if (!tool) return undefined;
    return ({ id: toolUseId, input }) => {
      const callId = randomUUID();
      return callOwnTool(tools, {
        ...{ tenantId, tool, input, signal: callSignal(), timeoutMsMax: timeoutMs },
        find: () => paidCalls.patiently('a tool', () => findTool(pool, { tenantId, name: tool.registered })),
        begin: () =>
          paidCalls.patiently('that a tool is called', () =>
            beginToolCall(pool, { tenantId, runId, step, toolUseId, callId, name }),
          ),
      });
    };
  };
}
