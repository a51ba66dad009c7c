/** Tools of a tenant's own: what is registered, and what a run knows of them. They are called by `tools/`. */
import { isRecord } from '../prices/usage';
import { cutAt, storable, storableText } from '../storable';
import { problemOfSchema, type AnswerSchema } from './answer-schema';
import { isToolName } from './tools';

export const ownToolKinds = ['http', 'mcp'] as const;
/** One address that is called with the arguments, or an MCP server (streamable HTTP) with tools of its own. */
export type OwnToolKind = (typeof ownToolKinds)[number];
export const httpMethods = ['GET', 'POST'] as const;

/** A tool as a model is shown it. */
export interface ShownTool {
  name: string;
  description: string;
  inputSchema: AnswerSchema;
  /** What its server calls it. */
  remoteName?: string;
}

/** A tool as a run has it from its start on: what is registered anew later is for runs that begin later. */
export interface OwnTool extends ShownTool {
  /** Under which name it is registered. */
  registered: string;
  requiresApproval?: boolean;
  /** Of each call. Decimal string. */
  priceUsd?: string;
}

/** What is registered of a tool or a server of a tenant, but for its credential. */
export interface RegisteredTool {
  name: string;
  kind: OwnToolKind;
  url: string;
  method: (typeof httpMethods)[number];
  /** What a model is shown: of an address the one tool, of a server those that it listed. */
  shown: ShownTool[];
  requiresApproval: boolean;
  priceUsd: string | undefined;
  timeoutSeconds: number;
  resultBytesMax: number;
}

/** The input of a call whose arguments nobody can read, as it stands in a transcript. No tool is called with it. */
export const unreadableInput = (text: string): Record<string, string> => ({ [unreadable]: text });
export const isUnreadableInput = (input: unknown): boolean =>
  isRecord(input) && Object.keys(input).length === 1 && typeof input[unreadable] === 'string';
const unreadable = 'unreadable_arguments';

/** What all three providers take for a name. */
const namePattern = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
/** Between the name of a server and that of one of its tools. */
const within = '__';
/** So many tools of a server are shown to a model, and so many characters of them. */
export const shownToolsMax = 128;
export const shownCharsMax = 200_000;
const leftOutMax = 100;
const descriptionCharsMax = 4_000;
const schemaCharsMax = 20_000;

/** Why a tool cannot be registered under a name; undefined where it can. */
export function problemOfToolName(name: string, kind: OwnToolKind): string | undefined {
  const most = kind === 'mcp' ? 30 : 64;
  if (!namePattern.test(name) || name.length > most)
    return `must begin with a letter and have letters, digits, _ and - alone, at most ${most}`;
  if (name in {}) return 'is a word that programs have for themselves';
  if (kind === 'mcp' && name.endsWith('_')) return 'must not end with _, which stands between a server and its tools';
  if (name.includes(within)) return `must not have ${within} in it, which stands between a server and its tools`;
  return isToolName(name) ? 'is the name of a tool that every run can have' : undefined;
}

/** Words of a schema that Anthropic refuses at its top. */
const notAtTop = ['anyOf', 'oneOf', 'allOf', 'enum', 'not'];
/** What it takes for the name of a property. */
const propertyPattern = /^[A-Za-z0-9_.-]{1,64}$/;

/**
 * Why arguments cannot be asked for by a schema; undefined where they can. One schema that a provider refuses is a refusal of each call of its
 * run. Sources, as of 2026-11-30: Anthropic's "Define tools", OpenAI's "Function calling", Google's "Function calling".
 */
export function problemOfInputSchema(schema: unknown): string | undefined {
  if (!isRecord(schema) || schema.type !== 'object')
    return 'must be a JSON Schema with "type": "object": models name arguments';
  const { properties = {} } = schema;
  if (!isRecord(properties) || !Object.values(properties).every((one) => typeof one === 'boolean' || isRecord(one)))
    return 'must have an object of schemas as its properties';
  const odd = Object.keys(properties).find((name) => !propertyPattern.test(name));
  if (odd !== undefined)
    return `has a property ${JSON.stringify(odd.slice(0, 80))}: models take letters, digits, _, . and -, at most 64`;
  const refused = notAtTop.find((word) => word in schema);
  if (refused !== undefined) return `has ${refused} at its top, which not all models take`;
  const text = JSON.stringify(schema);
  if (JSON.stringify(storable(schema)) !== text) return 'has a character that cannot be stored';
  return text.length > schemaCharsMax
    ? `has ${text.length} characters; at most ${schemaCharsMax} are taken`
    : undefined;
}

/** OpenAI refuses a schema of an object that says nothing of its properties, which is what a tool without arguments has. */
export const withProperties = (schema: AnswerSchema): AnswerSchema => ({
  ...schema,
  properties: schema.properties ?? {},
});

/** Whether arguments can be checked here against a schema; those of others are for whoever is called. */
export const isCheckable = (schema: AnswerSchema): boolean => problemOfSchema(schema) === undefined;

/** What a server lists, as models are shown it, and what of it none can be shown, with the reason. */
export function shownOf(
  server: string,
  listed: readonly { name: string; description?: string | undefined; inputSchema?: unknown }[],
): { shown: ShownTool[]; leftOut: { name: string; why: string }[] } {
  const shown = new Map<string, ShownTool>();
  const leftOut: { name: string; why: string }[] = [];
  let chars = 0;
  for (const { name: remoteName, description: words = '', inputSchema } of listed) {
    // Names of servers may have what those of models have not, such as dots.
    const name = `${server}${within}${remoteName.replaceAll(/[^A-Za-z0-9_-]/g, '_')}`;
    const problem = problemOfInputSchema(inputSchema);
    const description = storableText(words.slice(0, cutAt(words, descriptionCharsMax)));
    const schema = problem === undefined ? withProperties(inputSchema as AnswerSchema) : {};
    const tool = { name, remoteName, description, inputSchema: schema };
    const length = JSON.stringify(tool).length;
    const why = !namePattern.test(name)
      ? 'its name, with that of its server, is longer than models take, which is 64'
      : shown.has(name)
        ? 'another one has its name'
        : problem !== undefined
          ? `its schema ${problem}`
          : shown.size >= shownToolsMax || chars + length > shownCharsMax
            ? `at most ${shownToolsMax} tools and ${shownCharsMax} characters of one server are shown`
            : undefined;
    if (why !== undefined) leftOut.push({ name: storableText(remoteName.slice(0, 200)), why });
    else {
      shown.set(name, tool);
      chars += length;
    }
  }
  const more = leftOut.length - leftOutMax;
  const told =
    more > 0 ? [...leftOut.slice(0, leftOutMax), { name: `${more} more`, why: 'for reasons such as these' }] : leftOut;
  return { shown: [...shown.values()], leftOut: told };
}

/** Of registered tools those that a name stands for: the tool itself, a tool of a server, or all tools of a server. */
export function toolsNamed(name: string, registered: readonly RegisteredTool[]): OwnTool[] {
  const [server = ''] = name.split(within);
  const found = registered.find((tool) => tool.name === name || tool.name === server);
  if (!found) return [];
  const { priceUsd, requiresApproval } = found;
  return found.shown
    .filter((tool) => found.name === name || tool.name === name)
    .map((tool) => ({
      ...tool,
      registered: found.name,
      ...(requiresApproval ? { requiresApproval } : {}),
      ...(priceUsd === undefined ? {} : { priceUsd }),
    }));
}
