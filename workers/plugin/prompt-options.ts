/**
 * Options of a provider that a message, a part of it or a tool may have. Each is known here, or the call is refused by its name: a tool
 * may come so that runs at the provider, or what it has stored.
 */
import { isRecord } from '../../core/prices/usage';
import { unbounded } from './refused';

/** As the AI SDK's providers read them of what an agent says and of what they answered: none of these costs anything apart. */
const known = [
  // Of Anthropic's.
  ...['allowedCallers', 'cacheControl', 'cache_control', 'caller', 'citations', 'clearAt', 'context', 'deferLoading'],
  ...['eagerInputStreaming', 'effort', 'redactedData', 'serverName', 'signature', 'title', 'toolChanges', 'toolName'],
  ...['toolsetName', 'type'],
  // Of OpenAI's.
  ...['additionalTools', 'annotations', 'approvalId', 'approvalRequestId', 'async', 'encryptedContent', 'imageDetail'],
  ...['itemId', 'logprobs', 'namespace', 'omitFromRequestTools', 'outputSchema', 'parallelToolCall', 'phase'],
  ...['reasoningEffortUpdate', 'reasoningEncryptedContent', 'textFormatUpdate'],
  // Of Google's.
  ...['thought', 'thoughtSignature'],
];

const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);

/** Those of a message, a part or a tool, under each name that a provider may read. */
function optionsWithin({ providerOptions, providerMetadata }: Record<string, unknown>): Record<string, unknown>[] {
  return [providerOptions, providerMetadata]
    .flatMap((given) => (isRecord(given) ? Object.values(given) : []))
    .filter(isRecord);
}

/**
 * The tools that come with it by value, to be bounded as those of the call are.
 * @param vouchedFor names that whoever runs this says cost nothing apart.
 * @throws ApplicationFailure for an option that is not known.
 */
export function toolsWithin(of: unknown, vouchedFor: readonly string[]): unknown[] {
  const tools: unknown[] = [];
  for (const options of isRecord(of) ? optionsWithin(of) : [])
    for (const [name, value] of Object.entries(options)) {
      if (value === null || value === undefined) continue;
      if (!known.includes(name) && !vouchedFor.includes(name))
        throw unbounded(`The option ${JSON.stringify(name)} of a message, a part or a tool is not known here`);
      if (name === 'toolChanges') tools.push(...listOf(value).flatMap(addedBy));
      if (name === 'additionalTools') tools.push(...listOf(value).map(asFunction));
    }
  return tools;
}

const addedBy = (change: unknown): unknown[] => (isRecord(change) && 'tool' in change ? [change.tool] : []);

/** Those that OpenAI takes in a message run at the agent's side. */
const asFunction = (tool: unknown): unknown =>
  isRecord(tool) && ['function', 'custom', 'namespace'].includes(String(tool.type))
    ? { ...tool, type: 'function' }
    : tool;

/** By what names it stands at OpenAI, if it does: a provider reads one of them. */
export function storedId(part: Record<string, unknown>): string | undefined {
  const ids = optionsWithin(part).flatMap(({ itemId }) => (itemId === null || itemId === undefined ? [] : [itemId]));
  return ids.length === 0 ? undefined : JSON.stringify(ids);
}
