/** One call of a tool of a tenant's own: what is registered is looked up for each, so that what was removed is called no more. */
import { problemsOfAnswer } from '../core/agent/answer-check';
import { isCheckable, isUnreadableInput, type OwnTool } from '../core/agent/own-tools';
import type { SealedCredential, ToolToCall } from '../store/tools';
import { refused, type ToolAnswer } from './answers';
import { unseal, withoutCredential, type Credential } from './credentials';
import { callHttpTool, type Calling } from './http-tool';
import { callMcpTool } from './mcp-tool';
import { Outbound } from './outbound';
import type { ToolSettings } from './settings';

export interface ToolCall {
  tenantId: string;
  tool: OwnTool;
  input: unknown;
  /** Aborted when it is to stop. */
  signal: AbortSignal;
  /** It may take no longer, whatever is registered. */
  timeoutMsMax: number;
  /** What is registered now. */
  find: () => Promise<ToolToCall | undefined>;
  /** Just before it is called: false where it was called before, which nobody knows the end of. */
  begin: () => Promise<boolean>;
}

/** Calls a tool, once: what went wrong is told to the model. @throws what `find` and `begin` throw. */
export async function callOwnTool(settings: ToolSettings, call: ToolCall): Promise<ToolAnswer> {
  const { tenantId, tool, input, signal, timeoutMsMax, find, begin } = call;
  const { registered: name, inputSchema } = tool;
  const found = await find();
  if (!found) return refused(`The tool ${name} is not registered any more.`);
  const { tool: registered } = found;
  if (isUnreadableInput(input)) return refused('Its arguments are no JSON. It was not called.');
  const args = argumentsIn(input);
  if (!args) return refused('Its arguments must be an object.');
  const misfits = isCheckable(inputSchema) ? problemsOfAnswer(JSON.stringify(args), inputSchema) : [];
  if (misfits.length > 0) return refused(`Its arguments do not fit: ${misfits.join('; ')}. It was not called.`);
  const credential = credentialOf(settings, { tenantId, name }, found.credential);
  if (credential === 'closed')
    return refused('Its credential cannot be opened with the keys of the workers. It was not called.');
  if (!(await begin()))
    return refused(
      'It was called before, and its answer was lost: whether it was carried out is not known. It was not called again.',
    );
  if (signal.aborted) return refused('It was stopped before it was called.');
  const timeoutMs = Math.min(registered.timeoutSeconds * 1_000, timeoutMsMax);
  const answer = await answerWithin(timeoutMs, signal, (within) => {
    const outbound = new Outbound(settings.allowed);
    const options = { outbound, credential, signal: within };
    const { answer, isMade } =
      registered.kind === 'http'
        ? callHttpTool(registered, args, options)
        : callMcpTool({ ...registered, timeoutSeconds: timeoutMs / 1_000 }, { tool, input: args }, options);
    return { answer: answer.finally(() => outbound.close().catch(() => undefined)), isMade };
  });
  return { ...answer, text: withoutCredential(answer.text, credential) };
}

const argumentsIn = (input: unknown): Record<string, unknown> | undefined => {
  if (input === undefined || input === null) return {};
  return typeof input === 'object' && !Array.isArray(input) ? (input as Record<string, unknown>) : undefined;
};

/** The credential of a tool, in the clear; `closed` where no key opens it. */
export function credentialOf(
  { keys }: ToolSettings,
  owner: { tenantId: string; name: string },
  credential: SealedCredential | undefined,
): Credential | 'closed' | undefined {
  if (!credential) return undefined;
  const value = unseal(keys, owner, credential.sealed);
  return value === undefined ? 'closed' : { header: credential.header, value };
}

/** What a call comes to within its time: one that goes on after it is not waited for. */
async function answerWithin(
  timeoutMs: number,
  signal: AbortSignal,
  call: (within: AbortSignal) => Calling,
): Promise<ToolAnswer> {
  const over = new AbortController();
  const stop = (): void => over.abort();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  const calling = call(over.signal);
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<ToolAnswer>((resolve) => {
    const end = (why: string) => () =>
      resolve(
        calling.isMade()
          ? { text: `${why}: whether it was carried out is not known.`, isError: true, due: 'unknown' }
          : refused(`${why}: it was not reached, and not called.`),
      );
    over.signal.addEventListener('abort', end('It was stopped before it answered'), { once: true });
    timer = setTimeout(() => {
      end(`It did not answer within ${timeoutMs / 1_000} s`)();
      stop();
    }, timeoutMs);
  });
  try {
    return await Promise.race([calling.answer, tooLong]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    stop();
  }
}
