/** What is asked of a run or a conversation: checked before anything is stored, and as its workflow's input. */
import { mediaTypeOf, problemOfFile } from '../../core/agent/model-files';
import { problemOfSettings } from '../../core/agent/model-settings';
import { findModelPrice, UnpricedModelError, type ModelPrice } from '../../core/prices/prices';
import { findSandboxPrice, UnpricedSandboxError } from '../../core/prices/sandbox-prices';
import type { Labels } from '../../core/labels';
import { omitUndefined } from '../../core/omit-undefined';
import { knowsMoneyRequests } from '../../store/money-requests';
import type { Pool } from '../../store/pool';
import { readPolicy, type TenantPolicy } from '../../store/tenants';
import type { AgentRunInput, ToolRule } from '../../contracts/messages';
import type { StartConversationBody } from '../conversations/schemas';
import type { ProcessDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { fileBytesMax, taskCharsMax } from '../http/schemas';
import type { StartRunBody } from './schemas';
import { readText, type NamedFile } from './text-file';
import type { RunTools } from './tools';

/** What a run or a conversation remembers of how it was asked for. */
export const optionsOf = (
  {
    limits,
    sandbox,
    instructions,
    compaction,
    fallbackModels,
    onDenied,
    askDays,
    waitForHoldsSeconds,
    promptCaching,
    settings,
    answerSchema,
  }: StartRunBody | StartConversationBody,
  { file, tools: { given: tools, own } }: { file: KeptFile | undefined; tools: RunTools },
): Record<string, unknown> => ({
  limits,
  sandbox,
  compaction,
  onDenied,
  ...omitUndefined({ askDays, tools, instructions, fallbackModels, waitForHoldsSeconds, promptCaching, settings }),
  // As text: Postgres puts the fields of JSON into another order, in which the model would then answer.
  ...(answerSchema === undefined ? {} : { answerSchema: JSON.stringify(answerSchema) }),
  ...(own.length === 0 ? {} : { ownTools: JSON.stringify(own) }),
  ...omitUndefined({ fileType: file?.mediaType }),
});

/** How long people are waited for who are asked for money, where nothing is said. */
const askDaysByDefault = 3;

/** The part of a workflow's input that follows from how a run or a conversation was asked for. */
export function inputOf(
  body: (StartRunBody | StartConversationBody) & { labels: Labels | undefined },
  { given = [], own }: RunTools,
): Omit<AgentRunInput, 'runId' | 'tenantId' | 'model' | 'unavailable'> {
  const { maxCostUsd, lastCall, guaranteedUsd, ...limits }: StartRunBody['limits'] = body.limits;
  const { sandbox, compaction, onDenied, fallbackModels, userId, waitForHoldsSeconds, labels } = body;
  return {
    ...limits,
    ...omitUndefined({ maxCostUsd, guaranteedUsd, userId, fallbackModels, waitForHoldsSeconds, labels }),
    ...(onDenied === 'fail' ? {} : { onDenied: 'wait' as const }),
    ...(onDenied === 'ask' ? { askDays: body.askDays ?? askDaysByDefault } : {}),
    ...(lastCall ? { lastCall } : {}),
    ...(body.answerSchema ? { answersFit: true as const } : {}),
    ...(compaction.enabled ? { compact: true } : {}),
    ...toolRules([...given, ...own]),
    ...(own.length === 0 ? {} : { hasOwnTools: true as const }),
    sandboxTier: sandbox.tier,
    sandboxWindowSeconds: sandbox.windowSeconds,
    executionSeconds: sandbox.executionSeconds,
    sandboxIdle: { pauseSeconds: sandbox.pauseAfterSeconds, killSeconds: sandbox.killAfterSeconds },
  };
}

/** What a workflow has to know of the tools: which ask a person first, and which have a price. */
function toolRules(
  tools: readonly { name: string; requiresApproval?: boolean | undefined; priceUsd?: string | undefined }[],
): Pick<AgentRunInput, 'tools'> {
  const rules = tools.flatMap(({ name, requiresApproval, priceUsd }): [string, ToolRule][] =>
    requiresApproval || priceUsd !== undefined
      ? [[name, { ...(requiresApproval ? { requiresApproval } : {}), ...(priceUsd === undefined ? {} : { priceUsd }) }]]
      : [],
  );
  return rules.length === 0 ? {} : { tools: Object.fromEntries(rules) };
}

/** From the one that lets a step go on to the one that ends it. */
const strictness = ['allow', 'wait', 'deny'] as const;

/** A run may be stricter than its tenant, never laxer. Undefined means to wait. */
export async function unavailablePolicy(
  { pool }: ProcessDependencies,
  { tenantId, asked }: { tenantId: string; asked: TenantPolicy['onUnavailable'] | undefined },
): Promise<AgentRunInput['unavailable']> {
  const tenant = await readPolicy(pool, tenantId);
  const { onUnavailable = 'wait', answerTimeoutMs = 5_000 } = tenant ?? {};
  if (asked !== undefined && strictness.indexOf(asked) < strictness.indexOf(onUnavailable)) {
    throw new ApiError(
      'invalid_request',
      `onUnavailable: ${asked} is laxer than the tenant's ${onUnavailable}; a run may only be stricter. Nothing was stored.`,
    );
  }
  const then = asked ?? onUnavailable;
  return then === 'wait' ? undefined : { then, afterMs: answerTimeoutMs };
}

export function checkSizes(task: string, fileBytes: number): void {
  const nothing = 'Nothing was stored.';
  if (task.length > taskCharsMax) {
    throw new ApiError(
      'payload_too_large',
      `task: ${task.length} characters; at most ${taskCharsMax} are taken. ${nothing}`,
    );
  }
  if (fileBytes > fileBytesMax) {
    throw new ApiError('payload_too_large', `file: ${fileBytes} bytes; at most ${fileBytesMax} are taken. ${nothing}`);
  }
}

/** What a run holds for a last call it holds while it goes on, and what waits for money holds none. */
export function checkLastCall({
  limits: { lastCall, maxCostUsd },
  onDenied,
}: StartRunBody | StartConversationBody): void {
  if (!lastCall) return;
  if (maxCostUsd === undefined)
    throw new ApiError('invalid_request', 'limits.lastCall: wants limits.maxCostUsd beside it. Nothing was stored.');
  if (onDenied !== 'fail')
    throw new ApiError(
      'invalid_request',
      'limits.lastCall: what is held for it is held all the time, and with onDenied "wait" or "ask" nothing is. Nothing was stored.',
    );
}

/** The file that comes with a run or a conversation; the content of a large one comes beside the body. */
export const fileOf = ({ file }: Pick<StartRunBody, 'file'>, content?: Buffer): NamedFile | undefined =>
  file && { name: file.name, content: content ?? Buffer.from(file.contentBase64, 'base64') };

/** A file as it is kept, and what it is, where models are shown it. */
export type KeptFile = NamedFile & { mediaType?: string };

/** The file as it is kept. What neither a model is shown nor a program can read as text is refused before it costs anything. */
export async function keptOf(file: NamedFile | undefined): Promise<KeptFile | undefined> {
  const mediaType = file && mediaTypeOf(file.content);
  if (file && mediaType !== undefined) return { ...file, mediaType };
  const read = file && (await readText(file));
  if (read && 'why' in read) throw new ApiError('invalid_request', `file: ${read.why} Nothing was stored.`);
  checkSizes('', read?.content.length ?? 0);
  return read;
}

function problemOfKept(price: ModelPrice, file: KeptFile | undefined): string | undefined {
  if (file?.mediaType === undefined) return undefined;
  const { name, mediaType, content } = file;
  const problem = problemOfFile(price, { name, mediaType, content });
  return problem && `file: ${problem}`;
}

/** What has no price, and what one of the models does not take, is refused before anything is stored. */
export async function checkModels(
  { prices }: ProcessDependencies,
  {
    models: named,
    body,
    file,
  }: { models: readonly string[]; body: StartRunBody | StartConversationBody; file: KeptFile | undefined },
): Promise<void> {
  const { sandbox, settings = {}, limits } = body;
  const { models, sandboxes } = await prices();
  try {
    for (const name of named) {
      const price = findModelPrice(models, { model: name, at: Date.now() });
      const problem = problemOfSettings(price, settings, limits) ?? problemOfKept(price, file);
      if (problem !== undefined) throw new ApiError('invalid_request', `${problem} Nothing was stored.`);
    }
    findSandboxPrice(sandboxes, { tier: sandbox.tier, at: Date.now() });
  } catch (error) {
    if (error instanceof UnpricedModelError) throw new ApiError('unpriced_model', error.message);
    if (error instanceof UnpricedSandboxError) throw new ApiError('unpriced_sandbox', error.message);
    throw error;
  }
}

/**
 * Looks whether people can be asked for money as a run or a conversation wants it.
 * @throws ApiError where it cannot be.
 */
export async function checkAsking(
  { pool }: { pool: Pool },
  { onDenied, askDays }: Pick<StartRunBody, 'onDenied' | 'askDays'>,
): Promise<void> {
  if (askDays !== undefined && onDenied !== 'ask')
    throw new ApiError('invalid_request', 'askDays: wants onDenied "ask" beside it. Nothing was stored.');
  if (onDenied === 'ask' && !(await knowsMoneyRequests(pool)))
    throw new ApiError(
      'invalid_request',
      'onDenied: "ask" wants a database that has been migrated (`npm run migrate`); "wait" does not. Nothing was stored.',
    );
}
