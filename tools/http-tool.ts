/** A tool at an address: its arguments are sent as JSON (POST), or each as a parameter (GET), and what comes is text. */
import type { RegisteredTool } from '../core/agent/own-tools';
import { refused, type ToolAnswer } from './answers';
import type { Credential } from './credentials';
import { failureOfCall, readAtMost, type Outbound } from './outbound';

export interface ToolCallOptions {
  outbound: Outbound;
  credential: Credential | undefined;
  /** Aborted when its time is over, or it is to stop. */
  signal: AbortSignal;
}

const isText = (type: string): boolean =>
  type === '' || /^(text\/|application\/([\w.-]+\+)?(json|xml|yaml)\b)/.test(type);

export async function callHttpTool(
  { url, method, resultBytesMax }: Pick<RegisteredTool, 'url' | 'method' | 'resultBytesMax'>,
  input: Record<string, unknown>,
  { outbound, credential, signal }: ToolCallOptions,
): Promise<ToolAnswer> {
  const headers = {
    accept: 'application/json, text/*;q=0.9',
    ...(credential ? { [credential.header]: credential.value } : {}),
  };
  try {
    const response =
      method === 'GET'
        ? await outbound.fetch(withParameters(url, input), { method, headers, signal })
        : await outbound.fetch(new URL(url), {
            ...{ method, signal },
            headers: { ...headers, 'content-type': 'application/json' },
            body: JSON.stringify(input),
          });
    const { status } = response;
    if (status >= 300 && status < 400) {
      await response.body?.cancel();
      return refused(`It answered ${status}, which sends to another address: redirects are not followed.`);
    }
    const { bytes, isCut } = await readAtMost(response.body, resultBytesMax);
    const type = response.headers.get('content-type') ?? '';
    const said = isText(type)
      ? `${bytes.toString('utf8')}${isCut ? `\n[cut: it said more than ${resultBytesMax} bytes]` : ''}`
      : `[${isCut ? 'more than ' : ''}${bytes.length} bytes of ${type.slice(0, 100)}, which is no text]`;
    if (response.ok) return { text: said, isError: false, due: 'yes' };
    // What it refused it did not do; what went wrong within it, it may have done.
    return { text: `It answered ${status}: ${said}`, isError: true, due: status < 500 ? 'no' : 'unknown' };
  } catch (error) {
    const { message, isMade } = failureOfCall(error);
    return { text: message, isError: true, due: isMade ? 'unknown' : 'no' };
  }
}

function withParameters(text: string, input: Record<string, unknown>): URL {
  const url = new URL(text);
  for (const [name, value] of Object.entries(input))
    for (const one of Array.isArray(value) ? (value as unknown[]) : [value])
      url.searchParams.append(name, typeof one === 'string' ? one : JSON.stringify(one));
  return url;
}
