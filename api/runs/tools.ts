/** The tools of a run as it is asked for: those that every run can have, and its tenant's own, as they are registered when it begins. */
import { shownCharsMax, shownToolsMax, toolsNamed, type OwnTool } from '../../core/agent/own-tools';
import { isToolName, toolNames, type ToolName } from '../../core/agent/tools';
import { listTools } from '../../store/tools';
import type { ProcessDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import type { StartRunBody } from './schemas';

type AskedTool = NonNullable<StartRunBody['tools']>[number];

export interface RunTools {
  /** Undefined for all that there are. */
  given: (AskedTool & { name: ToolName })[] | undefined;
  own: OwnTool[];
}

const isGiven = (tool: AskedTool): tool is AskedTool & { name: ToolName } => isToolName(tool.name);

/** @throws ApiError for a name that no tool has, or two have, and for a price of what has one of its own. */
export async function toolsFor(
  { pool }: ProcessDependencies,
  { tenantId, tools }: { tenantId: string; tools: StartRunBody['tools'] },
): Promise<RunTools> {
  if (!tools) return { given: undefined, own: [] };
  const given = tools.filter(isGiven);
  const named = tools.filter((tool) => !isGiven(tool));
  const registered = named.length === 0 ? [] : await listTools(pool, tenantId);
  const own = named.flatMap(({ name, requiresApproval, priceUsd }) => {
    const wrong = (problem: string): ApiError =>
      new ApiError('invalid_request', `tools: ${JSON.stringify(name)} ${problem} Nothing was stored.`);
    const found = toolsNamed(name, registered);
    if (found.length === 0) {
      const names = [...toolNames, ...registered.map((tool) => tool.name)].join(', ');
      throw wrong(`is no tool of this tenant; these are: ${names}. POST /v1/tools registers one.`);
    }
    if (priceUsd !== undefined) throw wrong('has the price that it is registered with: leave priceUsd out.');
    return found.map((tool) => (requiresApproval ? { ...tool, requiresApproval } : tool));
  });
  const names = [...given, ...own].map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    throw new ApiError('invalid_request', `tools: ${JSON.stringify(twice)} is named twice. Nothing was stored.`);
  if (own.length > shownToolsMax)
    throw new ApiError(
      'invalid_request',
      `tools: ${own.length} tools of the tenant's own; at most ${shownToolsMax} can be shown to a model. Name those of a server that are needed, such as ${own[0]?.name}. Nothing was stored.`,
    );
  const chars = JSON.stringify(own).length;
  if (chars > shownCharsMax)
    throw new ApiError(
      'invalid_request',
      `tools: what the tenant's own are described by has ${chars} characters; at most ${shownCharsMax} can be shown to a model. Nothing was stored.`,
    );
  return { given, own };
}
