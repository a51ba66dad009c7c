/** What the agent is told: its instructions, its tools, and the task as its first message. */
import type Anthropic from '@anthropic-ai/sdk';

/** Where a sandbox finds the run's file. */
export const attachedFilePath = (fileName: string): string => `/home/user/${fileName}`;

export type CodeLanguage = 'python' | 'javascript';

export const systemPrompt =
  'You carry out one task for a user. When it needs data or arithmetic, write a program and run it with the run_code ' +
  'tool; never guess what a program could find out. A program sees attached files under the paths given and must print ' +
  'what you want to know. Print little: summaries, not whole files. When you have the answer, give it in a few plain ' +
  'sentences with the figures that support it.';

/** The tools of a run whose sandbox runs these languages. */
export const toolsFor = (languages: readonly CodeLanguage[]): Anthropic.Tool[] => [
  {
    name: 'run_code',
    description:
      'Runs a program in a fresh, isolated sandbox and returns what it printed. Files and state remain for later ' +
      `programs of this task. Languages: ${languages.join(', ')}.`,
    input_schema: {
      type: 'object',
      properties: {
        code: { type: 'string', description: 'The whole program.' },
        language: { type: 'string', enum: [...languages], description: `${languages[0]} when absent.` },
      },
      required: ['code'],
    },
  },
];

/** The first message of a run. */
export function taskMessage({
  task,
  fileName,
}: {
  task: string;
  fileName?: string | undefined;
}): Anthropic.MessageParam {
  const attachment = fileName === undefined ? '' : `\n\nAttached file: ${attachedFilePath(fileName)}`;
  return { role: 'user', content: `${task}${attachment}` };
}
