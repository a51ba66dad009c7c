/**
 * How many tokens a prompt has at most, told here from its bytes: no tokenizer in use makes more tokens of a text than it has bytes
 * of UTF-8. What an earlier call of the same transcript was billed for stands for that part of it, and only what came since is
 * bounded. Why so, and what was measured: docs/decisions/0045-estimate.md.
 */
import { createHash } from 'node:crypto';
import { overheads, textTokensMax, valueTokensMax } from '../../core/prices/token-bounds';
import type { Block, Prompt, PromptMessage, ToolSpec } from './model-provider';

/** Whose tokens they are. */
export interface Tokenized {
  provider: string;
  model: string;
}

/** What a provider said that the first messages of a prompt are, its instructions and tools included. */
export interface TrueCount {
  messages: number;
  tokens: number;
  /** Of all that was counted: another prompt is not told from it. */
  fingerprint: string;
}

/** What is kept with a reply, beside what its workflow is told of it. */
export interface CountedPrompt {
  prompt?: TrueCount | undefined;
}

/**
 * The true count of a prompt that was sent, for calls that go on from it. What was billed as nothing (a refusal, say) tells nothing of how
 * long it is.
 */
export const trueCountOf = (prompt: Prompt, whose: Tokenized, tokens: number): TrueCount | undefined =>
  tokens === 0
    ? undefined
    : { messages: prompt.messages.length, tokens, fingerprint: fingerprintOf(prompt, whose, prompt.messages.length) };

/** An upper bound, and how much of it is no true count. */
export interface PromptBound {
  tokens: number;
  roughTokens: number;
}

/** An upper bound of a prompt's tokens, infinite where it shows a file that was not counted; a true count that is of another prompt, or of another model, is left aside. */
export function boundPrompt(prompt: Prompt, whose: Tokenized, base?: TrueCount): PromptBound {
  const { system, messages, tools, settings, answerSchema } = prompt;
  const added = (from: number): number =>
    messages.slice(from).reduce((sum, message) => sum + messageTokensMax(message, whose), overheads.promptTokens);
  if (base && base.messages <= messages.length && base.fingerprint === fingerprintOf(prompt, whose, base.messages)) {
    const roughTokens = added(base.messages);
    return { tokens: base.tokens + roughTokens, roughTokens };
  }
  const ofTools = tools.reduce(
    (sum, tool) => sum + toolTokensMax(tool),
    tools.length === 0 ? 0 : overheads.toolsTokens,
  );
  const ofSettings = [settings, answerSchema].reduce<number>(
    (sum, of) => sum + (of === undefined ? 0 : overheads.settingsTokens + valueTokensMax(of)),
    0,
  );
  const tokens = textTokensMax(system) + ofTools + ofSettings + added(0);
  return { tokens, roughTokens: tokens };
}

function fingerprintOf({ system, tools, messages }: Prompt, { provider, model }: Tokenized, count: number): string {
  const told = messages.slice(0, count).map(({ role, content }) => ({ role, content: content.map(named) }));
  const counted = JSON.stringify([provider, model, system, tools, told]);
  return createHash('sha256').update(counted).digest('base64url');
}

/** A file stands there by its own fingerprint. */
const named = (block: Block): Block =>
  block.type === 'file' ? { ...block, data: createHash('sha256').update(block.data).digest('base64url') } : block;

const messageTokensMax = ({ content }: PromptMessage, whose: Tokenized): number =>
  content.reduce((sum, block) => sum + blockTokensMax(block, whose), overheads.messageTokens);

function blockTokensMax(block: Block, { provider }: Tokenized): number {
  switch (block.type) {
    case 'text':
      return overheads.blockTokens + textTokensMax(block.text);
    case 'tool_use': {
      const { id, name, input, thoughtSignature = '' } = block;
      return overheads.blockTokens + textTokensMax(id + name + thoughtSignature) + valueTokensMax(input);
    }
    case 'tool_result':
      // Some providers name the tool again, whose name no provider lets be longer than 128 characters.
      return overheads.blockTokens + 128 + textTokensMax(block.tool_use_id) + textTokensMax(block.content);
    // What it shows only its provider can count.
    case 'file':
      return Infinity;
    case 'opaque':
      return block.provider === provider ? overheads.blockTokens + valueTokensMax(block.value) : 0;
  }
}

const toolTokensMax = ({ name, description, inputSchema }: ToolSpec): number =>
  overheads.toolTokens + textTokensMax(name) + textTokensMax(description) + valueTokensMax(inputSchema);
