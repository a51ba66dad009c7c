/** Tools of a tenant's own: registering, seeing, trying and removing them. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import {
  problemOfToolName,
  shownOf,
  withProperties,
  type RegisteredTool,
  type ShownTool,
} from '../../core/agent/own-tools';
import { addTool, findTool, listTools, removeTool, toolsMax, type StoredTool } from '../../store/tools';
import { problemOfUrl } from '../../tools/addresses';
import { seal } from '../../tools/credentials';
import { lookAtTool } from '../../tools/look';
import { plainToolSettings } from '../../tools/settings';
import { everybody, whoSteers } from '../http/access';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { body, json, optionalBody, postRoute, route } from '../http/openapi';
import type { ApiEnv } from '../http/request';
import { addedToolView, addToolBody, namedTool, removeToolBody, toolQuery, toolTestView, toolView } from './schemas';

const nothing = 'Nothing was registered.';

const showTool = ({
  shown,
  priceUsd,
  credentialHeader,
  createdAt,
  updatedAt,
  ...tool
}: StoredTool): z.infer<typeof toolView> => ({
  ...tool,
  tools: shown.map(({ name }) => name),
  priceUsd: priceUsd ?? null,
  credentialHeader: credentialHeader ?? null,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
});

const noTool = (name: string): ApiError =>
  new ApiError('not_found', `There is no tool ${JSON.stringify(name)} of this tenant.`);

export function toolRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  listing(app, dependencies);
  adding(app, dependencies);
  testing(app, dependencies);
  removing(app, dependencies);
}

function listing(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    route(
      { operationId: 'listTools', summary: 'List the tools of a tenant', tag: 'Tools', access: everybody },
      {
        method: 'get',
        path: '/v1/tools',
        request: { query: toolQuery },
        responses: {
          200: json(z.object({ tools: z.array(toolView) }), 'Its tools, by name, without their credentials'),
        },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('query').tenantId);
      return c.json({ tools: (await listTools(dependencies.pool, tenantId)).map(showTool) }, 200);
    },
  );
}

function adding(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      {
        operationId: 'addTool',
        summary: 'Register a tool or an MCP server',
        tag: 'Tools',
        access: whoSteers,
        refuses: ['tool_exists', 'tool_unreachable'],
      },
      {
        path: '/v1/tools',
        request: { body: body(addToolBody) },
        responses: { 201: json(addedToolView, 'It is registered: runs that begin from now on can have it') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, asked.tenantId);
      const { name, credential, replace: replaces, author } = asked;
      const { pool, tools: settings = plainToolSettings } = dependencies;
      return once(c, dependencies, asked, async (_seed, keepWith) => {
        const { keys } = settings;
        if (credential && !keys)
          throw new ApiError(
            'invalid_request',
            `credential: this installation has no keys to keep it with (SPENDLOCK_TOOL_KEYS of the API and the workers). ${nothing}`,
          );
        const { tool, leftOut } = await toolOf(dependencies, asked);
        const sealed =
          credential && keys
            ? { header: credential.header, sealed: seal(keys, { tenantId, name }, credential.value) }
            : undefined;
        const answer = { status: 201 as const, body: { name, tools: tool.shown.map((one) => one.name), leftOut } };
        const by = operatorOf(c.get('caller'), author);
        const order = { tenantId, by, tool, credential: sealed, replaces };
        const added = await addTool(pool, { ...order, finish: (client) => keepWith(client, answer) });
        if (added === 'added') return answer;
        if (added === 'exists') throw new ApiError('tool_exists', `There is a tool ${name} already. ${nothing}`);
        if (added === 'full')
          throw new ApiError(
            'invalid_request',
            `The tenant has ${toolsMax} tools, which is as many as one may have. ${nothing}`,
          );
        throw new ApiError('unknown_tenant', `There is no tenant ${JSON.stringify(tenantId)}. ${nothing}`);
      });
    },
  );
}

/** What is to be registered; of a server what it lists. @throws ApiError for what cannot be, or is not reached. */
async function toolOf(
  { tools: settings = plainToolSettings }: ApiDependencies,
  asked: z.infer<typeof addToolBody>,
): Promise<{ tool: RegisteredTool; leftOut: { name: string; why: string }[] }> {
  const { name, kind, url, method, description = '', inputSchema = {}, credential, priceUsd, ...rest } = asked;
  const { requiresApproval, timeoutSeconds, resultBytesMax } = rest;
  const wrongName = problemOfToolName(name, kind);
  if (wrongName !== undefined) throw new ApiError('invalid_request', `name: ${wrongName}. ${nothing}`);
  const wrongUrl = problemOfUrl(url, settings.allowed);
  if (wrongUrl !== undefined) throw new ApiError('invalid_request', `url: ${wrongUrl}. ${nothing}`);
  const tool = { name, kind, url, method, requiresApproval, priceUsd, timeoutSeconds, resultBytesMax };
  if (kind === 'http')
    return { tool: { ...tool, shown: [{ name, description, inputSchema: withProperties(inputSchema) }] }, leftOut: [] };
  const look = await lookAtTool(settings, { tool: { ...tool, shown: [] }, credential });
  if (look.problem !== undefined)
    throw new ApiError('tool_unreachable', `${look.problem} Its tools could not be listed. ${nothing}`);
  const { shown, leftOut } = shownOf(name, look.listed);
  if (shown.length === 0) {
    const why = leftOut.map((one) => `${one.name}: ${one.why}`)[0] ?? 'it lists none';
    throw new ApiError('tool_unreachable', `The server has no tool that a model can be shown (${why}). ${nothing}`);
  }
  return { tool: { ...tool, shown }, leftOut };
}

/** What a server lists otherwise than it is registered. */
function changesOf(registered: readonly ShownTool[], now: readonly ShownTool[]): string[] {
  const text = (tool: ShownTool): string => JSON.stringify([tool.description, tool.inputSchema]);
  const gone = registered.filter(({ name }) => !now.some((one) => one.name === name));
  return [
    ...gone.map(({ name }) => `${name} is not there any more`),
    ...now.flatMap((tool) => {
      const before = registered.find(({ name }) => name === tool.name);
      if (!before) return [`${tool.name} is new`];
      return text(before) === text(tool) ? [] : [`${tool.name} is described otherwise`];
    }),
  ];
}

function testing(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      { operationId: 'testTool', summary: 'See whether a tool is reached', tag: 'Tools', access: whoSteers },
      {
        path: '/v1/tools/{name}/test',
        request: { params: namedTool, body: optionalBody(toolQuery) },
        responses: {
          200: json(
            toolTestView,
            'Whether it is reached: of a server what it lists now; of an address what it answers to OPTIONS',
          ),
        },
      },
    ),
    async (c) => {
      const { name } = c.req.valid('param');
      const tenantId = await tenantFor(c, dependencies, c.req.valid('json')?.tenantId);
      const { pool, tools: settings = plainToolSettings } = dependencies;
      const found = await findTool(pool, { tenantId, name });
      if (!found) throw noTool(name);
      const look = await lookAtTool(settings, { ...found, tenantId });
      const { status = null } = look;
      if (look.problem !== undefined)
        return c.json({ reached: false, problem: look.problem, status, changes: [], leftOut: [] }, 200);
      const { tool } = found;
      if (tool.kind === 'http') return c.json({ reached: true, problem: null, status, changes: [], leftOut: [] }, 200);
      const { shown, leftOut } = shownOf(name, look.listed);
      return c.json({ reached: true, problem: null, status, changes: changesOf(tool.shown, shown), leftOut }, 200);
    },
  );
}

function removing(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      { operationId: 'removeTool', summary: 'Remove a tool', tag: 'Tools', access: whoSteers },
      {
        path: '/v1/tools/{name}/remove',
        request: { params: namedTool, body: optionalBody(removeToolBody) },
        responses: { 200: json(z.object({ name: z.string() }), 'It is called no more, also by runs that have it') },
      },
    ),
    async (c) => {
      const { name } = c.req.valid('param');
      const asked = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, asked?.tenantId);
      return once(c, dependencies, { name, asked }, async (_seed, keepWith) => {
        const answer = { status: 200 as const, body: { name } };
        const by = operatorOf(c.get('caller'), asked?.author);
        const finish = (client: Parameters<typeof keepWith>[0]): Promise<void> => keepWith(client, answer);
        if (!(await removeTool(dependencies.pool, { tenantId, by, name, finish }))) throw noTool(name);
        return answer;
      });
    },
  );
}
