/**
 * Answers that have to fit a schema. The activity that buys one checks it; where it does not fit, its model is told what is wrong and answers
 * once more, as a step like any other. What is wrong is in Postgres: this history holds that something was.
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
  get asked(): Pick<CallModel, 'mayRepair'> {
    return this.input.answersFit === true && !this.isUsed ? { mayRepair: true } : {};
  }

  /** Whether the answer is asked for once more. @throws ApplicationFailure `answer_invalid` where it was already. */
  isAsked({ misfit }: Pick<ModelReply, 'misfit'>): boolean {
    if (misfit === undefined || !isPatched('answers-fit')) return false;
    if (misfit === 'again') throw misfits();
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
