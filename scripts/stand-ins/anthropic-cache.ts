/** Which parts of a request Anthropic is asked to cache, and what it refuses of that. */
import { isRecord } from '../../core/prices/usage';
import type { CachedBlock, CacheRule } from './prompt-cache';
import type { ScriptMessage } from './script-message';

/** The shortest beginning that a model caches, as documented in 2026-11; a model that is not among them caches 1,024. */
const minimumTokens: [of: RegExp, tokens: number][] = [
  [/^claude-(opus-5|fable-5|haiku-5|sonnet-5-5)/, 512],
  [/^claude-(opus-4-7|3-5-haiku|3-haiku|haiku-3)/, 2_048],
  [/^claude-(opus-4-[56]|haiku-4-5)/, 4_096],
];
const marksMax = 4;

/** The blocks of a prompt in the order in which they are read: tools, instructions, messages. */
export function cacheRuleOf(
  model: string,
  {
    system,
    tools,
    choice,
    messages,
  }: { system?: unknown; tools?: unknown; choice?: unknown; messages: ScriptMessage[] },
): CacheRule | { status: 400; message: string } {
  const blocks = [
    ...asBlocks(tools),
    ...asBlocks(system),
    // Another choice of tools leaves what is cached of the messages unread.
    ...messages.flatMap(({ role, content }) =>
      asBlocks(content).map((block) => ({ ...block, within: `${role} ${JSON.stringify(choice)}` })),
    ),
  ];
  const marks = blocks.filter(({ ttl }) => ttl !== undefined);
  const refused = (message: string): { status: 400; message: string } => ({ status: 400, message });
  if (marks.length > marksMax)
    return refused(`A maximum of ${marksMax} blocks with cache_control may be provided. Found ${marks.length}.`);
  if (marks.some(({ value }) => isEmptyText(value)))
    return refused('cache_control cannot be set for empty text blocks');
  if (marks.some(({ ttl }, at) => ttl === '1h' && marks[at - 1]?.ttl === '5m'))
    return refused("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block");
  return { blocks, key: [model], minimumTokens: minimumTokens.find(([of]) => of.test(model))?.[1] ?? 1_024 };
}

function asBlocks(part: unknown): CachedBlock[] {
  if (part === undefined || part === null) return [];
  if (!Array.isArray(part)) return [{ value: { type: 'text', text: part } }];
  return part
    .filter(isRecord)
    .map(({ cache_control: mark, ...value }) =>
      isRecord(mark) ? { value, ttl: mark.ttl === '1h' ? '1h' : '5m' } : { value },
    );
}

const isEmptyText = (block: unknown): boolean => isRecord(block) && block.type === 'text' && block.text === '';

/** Instructions as their text, whatever they come as: one block of text is counted as the text alone. */
export const textOf = (system: unknown): unknown =>
  Array.isArray(system) ? system.map((block: unknown) => (isRecord(block) ? block.text : '')).join('') : system;

/** The same without its marks, which are no part of what is counted. */
export const unmarked = (prompt: unknown): unknown =>
  JSON.parse(JSON.stringify(prompt ?? null, (key, value: unknown) => (key === 'cache_control' ? undefined : value)));
