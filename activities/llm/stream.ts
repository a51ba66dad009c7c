/** One streamed message: collects it, keeps the last usage that was reported, and ends a stream that hangs. */
import type Anthropic from '@anthropic-ai/sdk';
import { mergeStreamUsage, type AnthropicUsage } from '../../core/usage-anthropic';

export interface StreamedMessage {
  /** Present when the whole message arrived, up to the event that ends its content. */
  content?: Anthropic.ContentBlock[];
  stopReason?: string;
  /** The last cumulative usage. */
  usage?: AnthropicUsage;
  /** Whether `usage` is final: it came with, or after, the end of the content. */
  usageIsFinal: boolean;
  outputBegan: boolean;
  /** Why the stream ended early. */
  error?: unknown;
}

export interface StreamOptions {
  signal: AbortSignal;
  /** A stream that is silent for this long is ended: a connection may hang without an error. */
  idleMs: number;
  onFirstOutput?: () => Promise<void> | void;
}

/** Streams one message. Never throws for what happens on the wire: that is in the result. */
export async function streamMessage(
  client: Anthropic,
  params: Anthropic.MessageStreamParams,
  { signal, idleMs, onFirstOutput }: StreamOptions,
): Promise<StreamedMessage> {
  const result: StreamedMessage = { usageIsFinal: false, outputBegan: false };
  const idle = new AbortController();
  let idleTimer = setTimeout(() => idle.abort(), idleMs);
  const stream = client.messages.stream(params, { signal: AbortSignal.any([signal, idle.signal]) });
  const hooks: Promise<void>[] = [];
  stream.on('streamEvent', (event, snapshot) => {
    clearTimeout(idleTimer);
    idleTimer = setTimeout(() => idle.abort(), idleMs);
    if (event.type === 'message_start') {
      result.outputBegan = true;
      result.usage = mergeStreamUsage(undefined, event.message.usage);
      hooks.push(Promise.resolve(onFirstOutput?.()));
    } else if (event.type === 'message_delta') {
      // It comes after every content block: from here on the answer is whole, whatever happens to the connection.
      result.usage = mergeStreamUsage(result.usage, event.usage);
      result.usageIsFinal = true;
      result.content = snapshot.content;
      if (event.delta.stop_reason) result.stopReason = event.delta.stop_reason;
    }
  });
  try {
    await stream.finalMessage();
  } catch (error) {
    result.error = error;
  } finally {
    clearTimeout(idleTimer);
  }
  await Promise.all(hooks);
  return result;
}
