/** A tool at an address: its arguments are sent as JSON (POST), or each as a parameter (GET), and what comes is text. */
import type { RegisteredTool } from '../core/agent/own-tools';
import { urlCharsMax } from './addresses';
import { refused, type ToolAnswer } from './answers';
import { cutWithoutCredential, withoutCredential, type Credential } from './credentials';
import { failureOfCall, readAtMost, type Outbound } from './outbound';

export interface ToolCallOptions {
  outbound: Outbound;
  credential: Credential | undefined;
  /** Aborted when its time is over, or it is to stop. */
  signal: AbortSignal;
}

/** A call, and whether it may have been made by now. */
export interface Calling {
  answer: Promise<ToolAnswer>;
  isMade: () => boolean;
}

const isText = (type: string): boolean =>
  type === '' || /^(text\/|application\/([\w.-]+\+)?(json|xml|yaml)\b)/.test(type);

type Address = Pick<RegisteredTool, 'url' | 'method' | 'resultBytesMax'>;

export const callHttpTool = (tool: Address, input: Record<string, unknown>, options: ToolCallOptions): Calling => ({
  answer: call(tool, input, options),
  isMade: () => options.outbound.isConnected,
});

async function call(
  { url, method, resultBytesMax }: Address,
  input: Record<string, unknown>,
  { outbound, credential, signal }: ToolCallOptions,
): Promise<ToolAnswer> {
  const filled = method === 'GET' ? withParameters(url, input) : new URL(url);
  if (typeof filled === 'string') return refused(filled);
  const headers = {
    accept: 'application/json, text/*;q=0.9',
    ...(credential ? { [credential.header]: credential.value } : {}),
  };
  try {
    const response =
      method === 'GET'
        ? await outbound.fetch(filled, { method, headers, signal })
        : await outbound.fetch(filled, {
            ...{ method, signal },
            headers: { ...headers, 'content-type': 'application/json' },
            body: JSON.stringify(input),
          });
    const { status } = response;
    if (status >= 300 && status < 400) {
      await response.body?.cancel();
      return redirected(status, method);
    }
    const { bytes, isCut } = await readAtMost(response.body, resultBytesMax);
    const type = response.headers.get('content-type') ?? '';
    const said = isText(type)
      ? saidBy(bytes, isCut && { resultBytesMax, credential })
      : `[${isCut ? 'more than ' : ''}${bytes.length} bytes of ${withoutCredential(type, credential).slice(0, 100)}, which is no text]`;
    if (response.ok) return { text: said, isError: false, due: 'yes' };
    // What it refused it did not do; what went wrong within it, it may have done.
    return { text: `It answered ${status}: ${said}`, isError: true, due: status < 500 ? 'no' : 'unknown' };
  } catch (error) {
    return failureOfCall(error, outbound.isConnected);
  }
}

function saidBy(bytes: Buffer, cut: false | { resultBytesMax: number; credential: Credential | undefined }): string {
  const text = bytes.toString('utf8');
  if (!cut) return text;
  return `${cutWithoutCredential(text, cut.credential)}\n[cut: it said more than ${cut.resultBytesMax} bytes]`;
}

/** Who takes what was posted and then tells where to look has carried it out; who sends a request on as it is has not. */
function redirected(status: number, method: RegisteredTool['method']): ToolAnswer {
  const words = `It answered ${status}, which sends to another address: redirects are not followed`;
  if (method === 'GET' || status === 307 || status === 308) return refused(`${words}. It was not carried out.`);
  return { text: `${words}, and whether it was carried out is not known.`, isError: true, due: 'unknown' };
}

/** The address with the arguments in it; in words why not. What it is registered with is not the model's to add to. */
function withParameters(text: string, input: Record<string, unknown>): URL | string {
  const url = new URL(text);
  const own = new Set(url.searchParams.keys());
  for (const [name, value] of Object.entries(input)) {
    if (own.has(name)) return `Its argument ${JSON.stringify(name)} is set already. It was not called.`;
    for (const one of Array.isArray(value) ? (value as unknown[]) : [value])
      url.searchParams.append(name, typeof one === 'string' ? one : JSON.stringify(one));
  }
  if (url.href.length <= urlCharsMax) return url;
  return `Its arguments are too long for an address, which has ${urlCharsMax} characters at most. It was not called.`;
}
