/** Requests to tools: to addresses that may be called alone, to no other that these name, within a time and a size. */
import { Agent, fetch as send, type Dispatcher, type RequestInit, type Response } from 'undici';
import { isAllowed, problemOfUrl, publicLookup, ToolAddressError, type AllowedHosts } from './addresses';
import { refused } from './answers';

const connectMs = 10_000;
/** However much a server asks of its client. */
const ofEach = { connections: 4, pipelining: 0 };

/** A tool said more than is taken. */
export class ToolAnswerTooLargeError extends Error {
  override readonly name = 'ToolAnswerTooLargeError';
}

export class Outbound {
  /** Connections are for one call each: calls of tools are rare, and an address is looked up anew for each. */
  private readonly checked = new Agent({ ...ofEach, connect: { lookup: publicLookup, timeout: connectMs } });
  private readonly named = new Agent({ ...ofEach, connect: { timeout: connectMs } });
  /** Whether there was a connection over which something may have been sent. */
  isConnected = false;

  constructor(readonly allowed: AllowedHosts) {
    for (const agent of [this.checked, this.named]) agent.on('connect', () => void (this.isConnected = true));
  }

  /** @throws ToolAddressError before anything is sent. What it answers may be a redirect: it is not followed. */
  async fetch(url: URL, init: RequestInit): Promise<Response> {
    const problem = problemOfUrl(url.href, this.allowed);
    if (problem !== undefined) throw new ToolAddressError(`Its address ${problem}.`);
    const dispatcher: Dispatcher = isAllowed(url, this.allowed) ? this.named : this.checked;
    return send(url, { ...init, dispatcher, redirect: 'manual' });
  }

  async close(): Promise<void> {
    await Promise.all([this.checked.destroy(), this.named.destroy()]);
  }
}

/** What a body says, up to so many bytes; the rest is not read. */
export async function readAtMost(
  body: AsyncIterable<Uint8Array> | null,
  bytesMax: number,
): Promise<{ bytes: Buffer; isCut: boolean }> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of body ?? []) {
    parts.push(part.subarray(0, bytesMax - length));
    length += part.length;
    // What ends the loop ends the connection.
    if (length > bytesMax) break;
  }
  return { bytes: Buffer.concat(parts), isCut: length > bytesMax };
}

/** The innermost cause that has a code or a name of ours. */
function causeOf(error: unknown): { code?: string; message: string; name: string } {
  let found = error as Error & { code?: string };
  for (let depth = 0; depth < 5 && found.cause instanceof Error; depth += 1) found = found.cause;
  return found;
}

/** What kept a call from its answer, in words without anything that was sent. */
export function failureOfCall(error: unknown, isMade: boolean): { text: string; isError: true; due: 'no' | 'unknown' } {
  const { code = '', name, message } = causeOf(error);
  if (name === 'ToolAddressError') return refused(message);
  if (!isMade) return refused(`It could not be reached (${code || name}): it was not called.`);
  const text =
    name === 'ToolAnswerTooLargeError'
      ? message
      : `It did not answer (${code || name}): whether it was carried out is not known.`;
  return { text, isError: true, due: 'unknown' };
}
