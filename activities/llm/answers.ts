/** What is wrong with an answer: it is none, or does not fit the schema that it has to; and what its model is told of that. */
import { problemsOfAnswer } from '../../core/agent/answer-check';
import { storable } from '../../core/storable';
import type { ModelReply } from '../../contracts/llm';
import type { Run } from '../../store/runs';
import { answerSchemaOf } from './instructions';
import type { Block, StreamedReply } from './model-provider';

/** The words of a reply, as they are told. */
export const wordsIn = (content: readonly Block[]): string =>
  content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n');

export const isWordless = (content: readonly Block[]): boolean => wordsIn(content).trim() === '';

/** A provider's own name of how an answer ended, as far as it is a name. */
const nameOf = ({ endedAs = '' }: Pick<StreamedReply, 'endedAs'>): string =>
  /^\w{1,60}$/.test(endedAs) ? ` (its provider ended it as ${endedAs})` : '';

export interface Misfits {
  /** As a list of what does not fit; empty where it fits. */
  what: string[];
  /** What its model is told. */
  words: string;
}

/** What is wrong with a reply that is to be an answer; undefined of one that is to be none: it calls tools, was cut off or refused. */
export function misfitsOf(
  run: Pick<Run, 'options'>,
  content: readonly Block[],
  reply: Pick<ModelReply, 'stopReason' | 'toolCalls'> & Pick<StreamedReply, 'endedAs' | 'isBrokenCall'>,
): Misfits | undefined {
  if (reply.stopReason !== 'end_turn' || reply.toolCalls.length > 0) return undefined;
  const none = reply.isBrokenCall
    ? 'its call of a tool cannot be read'
    : isWordless(content)
      ? 'it has no words and calls no tool'
      : undefined;
  if (none !== undefined) {
    const what = `${none}${nameOf(reply)}`;
    return {
      what: [what],
      words: `Your answer cannot be used: ${what}. Answer once more, in words or by calling a tool.`,
    };
  }
  const what = schemaMisfits(run, content);
  return what.length === 0
    ? undefined
    : {
        what,
        words: `Your answer does not fit the JSON Schema: ${what.join('; ')}. Answer once more, with one JSON value that fits it and nothing else.`,
      };
}

function schemaMisfits(run: Pick<Run, 'options'>, content: readonly Block[]): string[] {
  const schema = answerSchemaOf(run);
  if (!schema) return [];
  // What is paid is kept, whatever its check comes to.
  try {
    return storable(problemsOfAnswer(wordsIn(content), schema));
  } catch {
    return ['it cannot be checked'];
  }
}
