/**
 * Answers that are none, without a word or a call, or do not fit their schema. The activity that buys one checks it; where something is wrong,
 * its model is told what and answers once more, as a step like any other. What is wrong is in Postgres: this history holds that something was.
 */
import type { CallModel, ModelReply } from '../../contracts/llm';
import type { AgentRunInput } from '../../contracts/messages';
import { failureWith } from '../failures';
import { isPatched } from '../patches';

export class AnswerRepair {
  /** The run or turn that goes on, and whether its one repair was asked for. */
  private of: string | undefined;
  isUsed = false;
  /** The next step is the repair, beyond the limit of steps if need be. */
  isNext = false;

  constructor(private readonly input: AgentRunInput) {}

  /** A step of a run or turn begins. */
  begin(of: string): void {
    if (this.of !== of) this.isUsed = false;
    this.of = of;
    this.isNext = false;
  }

  /** An execution before took steps of it. */
  goesOn(of: string, isUsed: boolean): void {
    this.of = of;
    this.isUsed = isUsed;
  }

  /** What a call is told of it. */
  get asked(): Required<Pick<CallModel, 'mayRepair'>> {
    return { mayRepair: !this.isUsed };
  }

  /** Whether the answer is asked for once more. @throws ApplicationFailure `answer_invalid` where it was already. */
  isAsked({ misfit }: Pick<ModelReply, 'misfit'>): boolean {
    if (misfit === undefined || !isPatched('answers-fit')) return false;
    if (misfit === 'again') throw this.input.answersFit === true ? misfits() : noAnswer();
    this.isUsed = this.isNext = true;
    return true;
  }
}

/** What it says is completed on record. `why` it was not asked for once more, as a sentence, where that was not done. */
export const misfits = (why?: string): Error =>
  failureWith(
    'answer_invalid',
    `The answer does not fit its schema.${why === undefined ? '' : ` ${why}`} What was said is kept, and what it cost is on record.`,
  );

const noAnswer = (): Error =>
  failureWith(
    'answer_invalid',
    'The model was asked for an answer twice and gave none. What was said and found before is kept, and what it cost is on record.',
  );
