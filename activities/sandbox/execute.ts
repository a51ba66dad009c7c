/** Runs the code of one step's tool calls in a sandbox and turns what it printed into what the model reads. */
import type { Sandbox } from '@e2b/code-interpreter';
import type { CodeLanguage } from '../llm/agent-prompt';

/** A tool call as the model wrote it. */
export interface ToolUse {
  type: 'tool_use';
  id: string;
  name: string;
  input: unknown;
}

export interface ToolResult {
  type: 'tool_result';
  tool_use_id: string;
  content: string;
  is_error?: boolean;
}

/** More output than this would fill the model's context; the rest is cut, and the cut is said. */
const outputCharsMax = 20_000;

export interface RunToolOptions {
  sandbox: Sandbox;
  languages: readonly CodeLanguage[];
  timeoutMs: number;
}

/** Runs one tool call. What is wrong with the call itself is told to the model, which can correct it. */
export async function runTool(use: ToolUse, { sandbox, languages, timeoutMs }: RunToolOptions): Promise<ToolResult> {
  const refuse = (content: string): ToolResult => ({
    type: 'tool_result',
    tool_use_id: use.id,
    content,
    is_error: true,
  });
  if (use.name !== 'run_code') return refuse(`There is no tool ${JSON.stringify(use.name)}; there is run_code.`);
  const { code, language = languages[0] } = (use.input ?? {}) as { code?: unknown; language?: unknown };
  if (typeof code !== 'string' || code.trim() === '')
    return refuse('run_code needs the program as a string in `code`.');
  if (!languages.includes(language as CodeLanguage)) {
    return refuse(`Programs in ${JSON.stringify(language)} cannot run here; these can: ${languages.join(', ')}.`);
  }
  const execution = await sandbox.runCode(code, { language: language as CodeLanguage, timeoutMs });
  const { error, logs, results } = execution;
  const parts = [
    ...logs.stdout,
    ...(logs.stderr.length > 0 ? ['[stderr]\n', ...logs.stderr] : []),
    ...results.flatMap((result) => (result.text === undefined ? [] : [`[result]\n${result.text}`])),
    ...(error ? [`[error] ${error.name}: ${error.value}\n${error.traceback}`] : []),
  ];
  const output = parts.join('') || 'The program printed nothing.';
  const content =
    output.length <= outputCharsMax
      ? output
      : `${output.slice(0, outputCharsMax)}\n[${output.length - outputCharsMax} more characters were cut]`;
  return { type: 'tool_result', tool_use_id: use.id, content, ...(error ? { is_error: true } : {}) };
}
