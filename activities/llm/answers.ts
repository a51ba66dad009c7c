/** An answer that has to fit a schema: what of it does not, and what its model is told of that. */
import { problemsOfAnswer } from '../../core/agent/answer-check';
import { storable } from '../../core/storable';
import type { ModelReply } from '../../contracts/llm';
import type { Run } from '../../store/runs';
import { answerSchemaOf } from './instructions';
import type { Block } from './model-provider';

/** The words of a reply, as they are told. */
export const wordsIn = (content: readonly Block[]): string =>
  content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n');

/** What of a reply does not fit; nothing of one that is no answer: it calls tools, was cut off or refused. */
export function misfitsOf(
  run: Pick<Run, 'options'>,
  content: readonly Block[],
  { stopReason, toolCalls }: Pick<ModelReply, 'stopReason' | 'toolCalls'>,
): string[] {
  const schema = answerSchemaOf(run);
  if (!schema || stopReason !== 'end_turn' || toolCalls.length > 0) return [];
  // What is paid is kept, whatever its check comes to.
  try {
    return storable(problemsOfAnswer(wordsIn(content), schema));
  } catch {
    return ['it cannot be checked'];
  }
}

/** What its model is told. */
export const repairWords = (misfits: readonly string[]): string =>
  `Your answer does not fit the JSON Schema: ${misfits.join('; ')}. Answer once more, with one JSON value that fits it and nothing else.`;
