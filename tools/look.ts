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
    if (tool.kind === 'mcp') {
      const listed = await listMcpTools({ ...tool, timeoutSeconds: lookMs / 1_000 }, options);
      return { listed: listed.flatMap((one) => withoutEcho(one, credential)) };
    }
    // What it answers to this is all the same: it is there.
    const response = await outbound.fetch(new URL(tool.url), { method: 'OPTIONS', signal: options.signal });
    await response.body?.cancel();
    return { listed: [] };
  } catch (error) {
    return { problem: withoutCredential(wordsOf(error, outbound.isConnected), credential).slice(0, 600) };
  } finally {
    await outbound.close().catch(() => undefined);
  }
}

/** A tool as its server lists it, without the credential, should it stand there; none whose name has it, and none that is no JSON. */
function withoutEcho({ name, description, inputSchema }: ListedTool, credential: Credential | undefined): ListedTool[] {
  try {
    const text = JSON.stringify({ name, description, inputSchema });
    const shown = JSON.parse(withoutCredential(text, credential)) as ListedTool;
    return shown.name === name ? [shown] : [];
  } catch {
    // It is nested too deep to be written down.
    return [];
  }
}

/** What servers say of themselves is told; of an answer that is none of the protocol's, what the client makes of it. */
function wordsOf(error: unknown, isConnected: boolean): string {
  const { text, due } = failureOfCall(error, isConnected);
  return due === 'no' ? text : `It did not answer as an MCP server does: ${(error as Error).message}.`;
}
