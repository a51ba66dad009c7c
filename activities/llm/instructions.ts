/** What the agent is told: its instructions, its tools, and the task as its first message. */
import type { Run } from '../../store/runs';
import type { OwnTool } from '../../core/agent/own-tools';
import { toolNames, type ToolName } from '../../core/agent/tools';
import { isForProviders, type AnswerSchema } from '../../core/agent/answer-schema';
import type { ModelSettings } from '../../core/agent/model-settings';
import type { PromptCaching } from '../../core/prices/prompt-cache';
import type { ToolSpec } from './model-provider';

/** Where a sandbox finds the run's file. */
export const attachedFilePath = (fileName: string): string => `/home/user/${fileName}`;

export type CodeLanguage = 'python' | 'javascript';

const ofTools =
  'When it needs data or arithmetic, write a program and run it with the run_code ' +
  'tool; never guess what a program could find out. A program sees attached files under the paths given and must print ' +
  'what you want to know. Print little: summaries, not whole files. When you have the answer, give it in a few plain ' +
  'sentences with the figures that support it.';

const ofAnswers =
  'Your answer is read by a program: when you have it, write one JSON value and nothing else, no words around it, that fits ' +
  'this JSON Schema:';

/** The instructions of a run. What its caller adds comes after ours. */
export function systemPrompt({ type, options }: Pick<Run, 'type' | 'options'>): string {
  const opening =
    type === 'conversation'
      ? 'You help a user in a conversation that may go on for long. '
      : 'You carry out one task for a user. ';
  const schema = answerSchemaOf({ options });
  const form = schema ? `\n\n${ofAnswers}\n${JSON.stringify(schema)}` : '';
  const added = typeof options.instructions === 'string' ? `\n\n${options.instructions}` : '';
  return `${opening}${ofTools}${form}${added}`;
}

/** A tool as a run's options have it. */
export interface ToolOption {
  name: string;
  /** A person is asked before each use. */
  requiresApproval?: boolean;
  /** What each use costs, beside the sandbox. Decimal string. */
  priceUsd?: string;
}

/** The tools of its tenant's own that a run has. */
export const ownToolsOf = ({ options }: Pick<Run, 'options'>): OwnTool[] =>
  // As text: Postgres would put the fields of a schema into another order. Apart from `tools`, which versions before read.
  options.ownTools === undefined ? [] : (JSON.parse(options.ownTools as string) as OwnTool[]);

/** The tools that a run may use; a task has nobody at hand to ask unless its caller says so. */
export function toolsOf({ type, options }: Pick<Run, 'type' | 'options'>): ToolOption[] {
  return [...givenTools({ type, options }), ...ownToolsOf({ options })];
}

function givenTools({ type, options }: Pick<Run, 'type' | 'options'>): (ToolOption & { name: ToolName })[] {
  if (Array.isArray(options.tools)) return options.tools as (ToolOption & { name: ToolName })[];
  const names = type === 'conversation' ? toolNames : toolNames.filter((name) => name !== 'ask_person');
  return names.map((name) => ({ name }));
}

/** What the model is told of all of them. */
export const toolSpecsOf = (run: Pick<Run, 'type' | 'options'>, languages: readonly CodeLanguage[]): ToolSpec[] => [
  ...givenTools(run).map(({ name }) => toolSpec(name, languages)),
  ...ownToolsOf(run).map(({ name, description, inputSchema }) => ({ name, description, inputSchema })),
];

/** Whether a run's prompts are to be cached: unless it says, wherever another call is to come that goes on from them. */
export function cachingOf(run: Pick<Run, 'type' | 'options'>): PromptCaching {
  const asked = run.options.promptCaching as PromptCaching | undefined;
  return asked ?? (run.type === 'task' && toolsOf(run).length === 0 ? 'off' : '5m');
}

/** The form that its answers are to have; undefined where they are words. */
export const answerSchemaOf = ({ options }: Pick<Run, 'options'>): AnswerSchema | undefined =>
  options.answerSchema === undefined ? undefined : (JSON.parse(options.answerSchema as string) as AnswerSchema);

/** The same for providers that can make an answer of it. */
export const ownSchemaOf = (run: Pick<Run, 'options'>): AnswerSchema | undefined => {
  const schema = answerSchemaOf(run);
  return schema && isForProviders(schema) ? schema : undefined;
};

/** What its file is, where its models are shown it; undefined where programs alone read it. */
export const fileTypeOf = ({ options }: Pick<Run, 'options'>): string | undefined =>
  options.fileType as string | undefined;

/** How its models are to answer. */
export const settingsOf = ({ options }: Pick<Run, 'options'>): ModelSettings | undefined =>
  options.settings as ModelSettings | undefined;

const text = (description: string): Record<string, unknown> => ({ type: 'string', description });

/** What the model is told of a tool, whose sandbox runs these languages. */
export function toolSpec(name: ToolName, languages: readonly CodeLanguage[]): ToolSpec {
  const spec = (description: string, properties: Record<string, unknown>, required: string[]): ToolSpec => ({
    name,
    description,
    inputSchema: { type: 'object', properties, required },
  });
  switch (name) {
    case 'run_code':
      return spec(
        'Runs a program in a fresh, isolated sandbox and returns what it printed. Files and state remain for later ' +
          `programs of this task. Languages: ${languages.join(', ')}.`,
        {
          code: text('The whole program.'),
          language: { type: 'string', enum: [...languages], description: `${languages[0]} when absent.` },
        },
        ['code'],
      );
    case 'read_file':
      return spec('Returns a text file of the sandbox.', { path: text('Its path, such as /home/user/notes.txt.') }, [
        'path',
      ]);
    case 'write_file':
      return spec(
        'Writes a text file into the sandbox, in place of what was there.',
        { path: text('Its path, such as /home/user/notes.txt.'), content: text('All of its text.') },
        ['path', 'content'],
      );
    case 'ask_person':
      return spec(
        'Asks a person a question that only they can answer, and returns the answer. It may take days.',
        { question: text('The question, in a form that can be answered without knowing this conversation.') },
        ['question'],
      );
  }
}

/** The line that tells of a run's file. */
export const attachmentLine = (fileName: string | undefined): string =>
  fileName === undefined ? '' : `\n\nAttached file: ${attachedFilePath(fileName)}`;
