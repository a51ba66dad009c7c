/** Tools that a request offers, in the form of whichever provider, and a call of one as its schema has it. */
import type { ScriptMessage } from './script-message';

export interface OfferedTool {
  name: string;
  /** A JSON Schema. */
  schema: unknown;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Functions of Anthropic's, OpenAI's (responses and chat) and Google's requests; tools that a provider runs itself are none. */
export function offeredTools(tools: unknown): OfferedTool[] {
  if (!Array.isArray(tools)) return [];
  return tools.flatMap((tool: unknown): OfferedTool[] => {
    if (!isRecord(tool)) return [];
    if (Array.isArray(tool.functionDeclarations)) return offeredTools(tool.functionDeclarations);
    if (isRecord(tool.function)) return offeredTools([tool.function]);
    const { name, input_schema, parametersJsonSchema, parameters } = tool;
    const schema = input_schema ?? parametersJsonSchema ?? parameters;
    return typeof name === 'string' && schema !== undefined ? [{ name, schema }] : [];
  });
}

/** What a person said last to use of what is offered (`use weather`, `use the tool weather`), and what came of it since. */
export function toolsToUse(
  messages: readonly ScriptMessage[],
  offered: readonly OfferedTool[],
): { tools: OfferedTool[]; results: string[] } {
  const named = (message: ScriptMessage): OfferedTool[] => {
    const words = wordsOf(message);
    return words === undefined ? [] : offered.filter(({ name }) => name !== 'run_code' && saysToUse(words, name));
  };
  const at = messages.findLastIndex((message) => named(message).length > 0);
  const asked = messages[at];
  if (!asked) return { tools: [], results: [] };
  const since = messages.slice(at + 1).flatMap(({ content }) => (typeof content === 'string' ? [] : content));
  const results = since.filter(({ type }) => type === 'tool_result').map(({ content }) => textOf(content));
  return { tools: named(asked), results };
}

const textOf = (content: unknown): string => (typeof content === 'string' ? content : JSON.stringify(content ?? ''));

const saysToUse = (words: string, name: string): boolean =>
  new RegExp(`\\buse (?:the )?(?:tool )?${name.replaceAll(/[^\w]/g, '\\$&')}(?![\\w-])`, 'i').test(words);

/** What a person says; undefined of an answer, and of what tools came to. */
function wordsOf({ role, content }: ScriptMessage): string | undefined {
  if (role !== 'user') return undefined;
  if (typeof content === 'string') return content;
  if (content.some(({ type }) => type === 'tool_result')) return undefined;
  return content.map(({ text = '' }) => text).join('\n');
}

/** Arguments that a schema takes: what has to be there, as short as it can be said. */
export function argumentsFor(schema: unknown): Record<string, unknown> {
  const value = valueFor(schema);
  return isRecord(value) ? value : {};
}

function valueFor(schema: unknown): unknown {
  if (!isRecord(schema)) return 'example';
  const { type, const: only, enum: some, default: usual, examples, properties, required, minimum } = schema;
  if (only !== undefined) return only;
  if (usual !== undefined) return usual;
  for (const among of [examples, some]) if (Array.isArray(among) && among.length > 0) return among[0] as unknown;
  switch (Array.isArray(type) ? (type[0] as unknown) : type) {
    case 'object': {
      const known = isRecord(properties) ? properties : {};
      const names = Array.isArray(required) ? (required as string[]) : [];
      return Object.fromEntries(names.map((name) => [name, valueFor(known[name])]));
    }
    case 'array':
      return [];
    case 'boolean':
      return true;
    case 'integer':
    case 'number':
      return typeof minimum === 'number' ? minimum : 1;
    case 'null':
      return null;
    default:
      return 'example';
  }
}
