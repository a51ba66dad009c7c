/** Whether a tool is reached, without a call of it: what a server lists; of an address, that it takes connections. */
import type { RegisteredTool } from '../core/agent/own-tools';
import type { SealedCredential } from '../store/tools';
import { credentialOf } from './call';
import { withoutCredential, type Credential } from './credentials';
import { listMcpTools, type ListedTool } from './mcp-tool';
import { failureOfCall, Outbound } from './outbound';
import type { ToolSettings } from './settings';

const lookMs = 20_000;

export type Look = { problem: string; listed?: never } | { problem?: never; listed: ListedTool[] };

export async function lookAtTool(
  settings: ToolSettings,
  asked: { tool: RegisteredTool } & (
    | { tenantId: string; credential: SealedCredential | undefined }
    | { tenantId?: never; credential: Credential | undefined }
  ),
): Promise<Look> {
  const { tool, tenantId, credential: given } = asked;
  const credential = tenantId === undefined ? given : credentialOf(settings, { tenantId, name: tool.name }, given);
  if (credential === 'closed')
    return { problem: 'Its credential cannot be opened with SPENDLOCK_TOOL_KEYS of this process.' };
  const outbound = new Outbound(settings.allowed);
  const options = { outbound, credential, signal: AbortSignal.timeout(lookMs) };
  try {
    if (tool.kind === 'mcp')
      return { listed: await listMcpTools({ ...tool, timeoutSeconds: lookMs / 1_000 }, options) };
    // What it answers to this is all the same: it is there.
    const response = await outbound.fetch(new URL(tool.url), { method: 'OPTIONS', signal: options.signal });
    await response.body?.cancel();
    return { listed: [] };
  } catch (error) {
    return { problem: withoutCredential(wordsOf(error), credential) };
  } finally {
    await outbound.close().catch(() => undefined);
  }
}

/** What servers say of themselves is told; of an answer that is none of the protocol's, what the client makes of it. */
function wordsOf(error: unknown): string {
  const { message, isMade } = failureOfCall(error);
  return isMade ? `It did not answer as an MCP server does: ${(error as Error).message.slice(0, 500)}.` : message;
}
