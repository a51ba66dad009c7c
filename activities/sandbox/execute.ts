/** Runs one tool call in a sandbox and turns what came of it into what the model reads. */
import type { Execution, OutputMessage, Sandbox } from '@e2b/code-interpreter';
import { cutAt, replacementCharacter, storableText, unstorableIn } from '../../core/storable';
import type { Approval } from '../../store/approvals';
import type { ToolAnswer } from '../../tools/answers';
import type { CodeLanguage } from '../llm/instructions';
import type { Block } from '../llm/model-provider';
import { patiently } from './patience';
import { isGone, isOverItsTime, neverConnected } from './provider-errors';

/** A tool call as the model wrote it. */
export type ToolUse = Block & { type: 'tool_use' };
export type ToolResult = Block & { type: 'tool_result' };

/** More output than this would fill the model's context; the rest is cut, and the cut is said. */
const outputCharsMax = 20_000;

/** A sandbox that does not answer is asked again for so long. */
const againMs = 5_000;

export interface RunToolOptions {
  sandbox: Sandbox | undefined;
  languages: readonly CodeLanguage[];
  timeoutMs: number;
  /** What a person said of this call. */
  approval: Approval | undefined;
  /** It runs only if a person allowed it. */
  needsApproval: boolean;
  /** Aborted when the call is to end before its time. */
  signal: AbortSignal;
  /** The tools that the run may use. */
  allowed: ReadonlySet<string>;
  /** Calls the tool, where it is one of the tenant's own. */
  callOwn: ((use: ToolUse) => Promise<ToolAnswer>) | undefined;
}

export interface ToolOutcome {
  result: ToolResult;
  /** Whether the tool did anything: only then its price is due. */
  used: boolean;
  /** It may have done something, which nobody can tell: its price is charged, and is to be looked at. */
  isUnverified?: true;
  /** Whether the sandbox was asked to do something. */
  ran: boolean;
}

/** What is wrong with the call itself is told to the model, which can correct it. */
export async function runTool(use: ToolUse, options: RunToolOptions): Promise<ToolOutcome> {
  const { approval, allowed, sandbox } = options;
  const answer = (content: string, isError = false): ToolResult => ({
    type: 'tool_result',
    tool_use_id: use.id,
    content: cut(readable(content)),
    ...(isError ? { is_error: true } : {}),
  });
  const refuse = (content: string): ToolOutcome => ({ result: answer(content, true), used: false, ran: false });
  if (!allowed.has(use.name))
    return refuse(`There is no tool ${JSON.stringify(use.name)}; there is ${[...allowed].join(', ')}.`);
  if (approval?.status === 'refused')
    return refuse(`A person refused it${approval.answer ? `, and said: ${approval.answer}` : '.'}`);
  if (approval?.status === 'withdrawn' || approval?.status === 'pending') return refuse('Nobody answered.');
  // No question on record is no permission either.
  if (options.needsApproval && approval?.status !== 'approved')
    return refuse('Nobody was asked whether it may be used.');
  if (options.callOwn) {
    const { text, isError, due } = await options.callOwn(use);
    const isUnverified = due === 'unknown' ? { isUnverified: true as const } : {};
    return { result: answer(text, isError), used: due !== 'no', ran: false, ...isUnverified };
  }
  const input = (use.input ?? {}) as Record<string, unknown>;
  if (use.name === 'ask_person') {
    return approval?.answer === undefined || approval.answer === null
      ? refuse('Nobody was asked.')
      : { result: answer(approval.answer), used: true, ran: false };
  }
  if (!sandbox) return refuse('There is no sandbox.');
  const wrong = wrongInput(use.name, input, options.languages);
  if (wrong !== undefined) return refuse(wrong);
  switch (use.name) {
    case 'read_file':
      return file(answer, `${String(input.path)} could not be read`, () => sandbox.files.read(String(input.path)));
    case 'write_file':
      return file(answer, `${String(input.path)} could not be written`, async () => {
        await sandbox.files.write(String(input.path), String(input.content));
        return `Written: ${String(input.path)}, ${String(input.content).length} characters.`;
      });
    default:
      return runCode(sandbox, input, options, answer);
  }
}

function wrongInput(
  tool: string,
  input: Record<string, unknown>,
  languages: readonly CodeLanguage[],
): string | undefined {
  if (tool === 'read_file' || tool === 'write_file') {
    if (typeof input.path !== 'string' || !input.path.startsWith('/'))
      return `${tool} needs an absolute path in \`path\`.`;
    return tool === 'write_file' && typeof input.content !== 'string'
      ? 'write_file needs the text in `content`.'
      : undefined;
  }
  const { code, language = languages[0] } = input;
  if (typeof code !== 'string' || code.trim() === '') return 'run_code needs the program as a string in `code`.';
  return languages.includes(language as CodeLanguage)
    ? undefined
    : `Programs in ${JSON.stringify(language)} cannot run here; these can: ${languages.join(', ')}.`;
}

type Answer = (content: string, isError?: boolean) => ToolResult;

/** A file that is not there is told to the model; a sandbox that is not is for the caller. */
async function file(answer: Answer, problem: string, work: () => Promise<string>): Promise<ToolOutcome> {
  try {
    // Reading or writing a file twice is the same as once.
    return { result: answer(await patiently(work, { forMs: againMs })), used: true, ran: true };
  } catch (error) {
    if (isGone(error)) throw error;
    return { result: answer(`${problem}: ${(error as Error).name}.`, true), used: false, ran: true };
  }
}

async function runCode(
  sandbox: Sandbox,
  { code, language }: Record<string, unknown>,
  { languages, timeoutMs, signal }: RunToolOptions,
  answer: Answer,
): Promise<ToolOutcome> {
  const printed: string[] = [];
  let onStderr = false;
  const options = {
    language: (language ?? languages[0]) as CodeLanguage,
    timeoutMs,
    onStdout: ({ line }: OutputMessage) => void printed.push(line),
    onStderr: ({ line }: OutputMessage) => {
      if (!onStderr) printed.push('[stderr]\n');
      onStderr = true;
      printed.push(line);
    },
  };
  // Only a request that never reached the sandbox is made again: what it asks for has surely not begun.
  const running = patiently(() => sandbox.runCode(String(code), options), { forMs: againMs, when: neverConnected });
  const stopped = new Promise<'stopped'>((resolve) => {
    if (signal.aborted) resolve('stopped');
    signal.addEventListener('abort', () => resolve('stopped'), { once: true });
  });
  const unfinished = (why: string): ToolOutcome => ({
    result: answer(`${printed.join('')}\n[${why}]`, true),
    used: true,
    ran: true,
  });
  let ended: Execution | 'stopped';
  try {
    ended = await Promise.race([running, stopped]);
  } catch (error) {
    if (isGone(error) || !(await isAlive(sandbox))) throw gone(error);
    if (isOverItsTime(error)) {
      await endPrograms(sandbox);
      return unfinished(
        `It was ended after ${timeoutMs / 1_000} s, which is as long as one program may take. The sandbox and its files are as they were.`,
      );
    }
    // It is not run a second time: it may have done something.
    return unfinished(
      `The connection to the sandbox was cut (${(error as Error).name}): whether the program went on is not known. It was not run again.`,
    );
  }
  if (ended === 'stopped') {
    running.catch(() => undefined);
    return unfinished('It was stopped before its end.');
  }
  const { error, results } = ended;
  const parts = [
    ...printed,
    ...results.flatMap((result) => (result.text === undefined ? [] : [`[result]\n${result.text}`])),
    ...(error ? [`[error] ${error.name}: ${error.value}\n${error.traceback}`] : []),
  ];
  return {
    result: answer(parts.join('') || 'The program printed nothing.', error !== undefined),
    used: true,
    ran: true,
  };
}

const isAlive = (sandbox: Sandbox): Promise<boolean> =>
  patiently(() => sandbox.isRunning(), { forMs: againMs }).catch(() => true);

/** What `isGone` tells, of a sandbox that was looked for and is not there. */
function gone(error: unknown): Error {
  if (isGone(error)) return error as Error;
  return Object.assign(new Error('The sandbox is not there any more.', { cause: error }), {
    name: 'SandboxNotFoundError',
  });
}

/** Ends what runs in the interpreter; what a program left in its memory goes with it. One that cannot is left to the window. */
async function endPrograms(sandbox: Sandbox): Promise<void> {
  try {
    for (const { id } of await sandbox.listCodeContexts()) await sandbox.restartCodeContext(id);
  } catch {
    // The next program says what it meets.
  }
}

function cut(output: string): string {
  if (output.length <= outputCharsMax) return output;
  const end = cutAt(output, outputCharsMax);
  return `${output.slice(0, end)}\n[${output.length - end} more characters were cut]`;
}

/** What was said, as it can be stored and read: what is no text is replaced, and that is said. */
function readable(output: string): string {
  const count = unstorableIn(output);
  return count === 0
    ? output
    : `${storableText(output)}\n[${count} characters that are no text (U+0000, or half a character) were replaced by ${replacementCharacter}]`;
}
