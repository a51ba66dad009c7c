/** Whether a tool is reached, without a call of it: what a server lists; of an address, what it answers to OPTIONS. */
import type { RegisteredTool } from '../core/agent/own-tools';
import type { SealedCredential } from '../store/tools';
import { credentialOf } from './call';
import { withoutCredential, type Credential } from './credentials';
import { listMcpTools, type ListedTool } from './mcp-tool';
import { failureOfCall, Outbound } from './outbound';
import type { ToolSettings } from './settings';

const lookMs = 20_000;

/** `status` is what an address answered to OPTIONS, which went without its credential. */
export type Look =
  { problem: string; status?: number; listed?: never } | { problem?: never; status?: number; listed: ListedTool[] };

/** Of an address that has nothing at its path; what it has answers otherwise, if not always well. */
const nothingThere: readonly number[] = [404, 410];

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
    const response = await outbound.fetch(new URL(tool.url), { method: 'OPTIONS', signal: options.signal });
    const { status } = response;
    await response.body?.cancel();
    return nothingThere.includes(status)
      ? { status, problem: `It answers ${status} to OPTIONS, as where nothing is at that path. It was not called.` }
      : { status, listed: [] };
  } catch (error) {
    return { problem: wordsOf(error, outbound.isConnected, credential).slice(0, 600) };
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
function wordsOf(error: unknown, isConnected: boolean, credential: Credential | undefined): string {
  const { text, due } = failureOfCall(error, isConnected);
  if (/redirect/i.test((error as Error).message))
    return 'It sends to another origin, and redirects are followed within its own alone.';
  const { name, message } = error as Error;
  // Of what is no JSON the engine's message has a piece, which may be one of the credential.
  const what = name === 'SyntaxError' ? 'what it said is no JSON' : message;
  const said = withoutCredential(due === 'no' ? text : what, credential);
  return due === 'no' ? said : `It did not answer as an MCP server does (${oneLine(said)}).`;
}

/** Messages of the client have several, and JSON in them. */
const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').slice(0, 300);
