/** A workflow that uses every way in which a value reaches a workflow or leaves one: all of them carry payloads. */
import {
  allHandlersFinished,
  ApplicationFailure,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  executeChild,
  getExternalWorkflowHandle,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  sleep,
  upsertMemo,
  workflowInfo,
} from '@temporalio/workflow';

export interface BindingActivities {
  /** Beats once, fails, and answers with what it had said in its beat. */
  beat(text: string): Promise<string>;
  fail(text: string): Promise<void>;
  /** Are completed by somebody else: by the names of workflow and activity, or by their task's token. */
  answeredByName(text: string): Promise<string>;
  answeredByToken(text: string): Promise<string>;
  echo(text: string): Promise<string>;
}

const startToCloseTimeout = '1 minute';
const { beat, answeredByName, answeredByToken } = proxyActivities<BindingActivities>({
  startToCloseTimeout,
  heartbeatTimeout: '1 minute',
  retry: { initialInterval: '10 ms' },
});
const { fail } = proxyActivities<BindingActivities>({ startToCloseTimeout, retry: { maximumAttempts: 1 } });
const { echo } = proxyLocalActivities<BindingActivities>({ startToCloseTimeout });

export const tellSignal = defineSignal<[string]>('tell');
export const lastQuery = defineQuery<string, [string]>('last');
export const changeUpdate = defineUpdate<string, [string]>('change');

const details = (error: unknown): string => {
  for (let one = error; one instanceof Error; one = one.cause)
    if (one instanceof ApplicationFailure) return `${one.message}/${String(one.details?.[0])}`;
  return String(error);
};

export async function everyWay(text: string, before: string[] = []): Promise<string[]> {
  const told: string[] = [];
  const changes: string[] = [];
  setHandler(tellSignal, (word) => void told.push(word));
  setHandler(lastQuery, (word) => `${word}:${String(told.at(-1))}`);
  setHandler(changeUpdate, async (word) => {
    changes.push(word);
    await sleep(1);
    return `changed ${word}`;
  });
  if (before.length > 0) {
    await condition(() => told.length > 0 && changes.length > 0 && allHandlersFinished());
    return [...before, ...told, ...changes];
  }
  upsertMemo({ noted: text });
  const said = [
    await beat(text),
    await fail(text).catch(details),
    await answeredByName(text),
    await answeredByToken(text),
    await echo(text),
    await executeChild('ofAParent', {
      args: [text, workflowInfo().workflowId],
      workflowId: `${workflowInfo().workflowId}/child`,
      memo: { noted: text },
    }),
    await executeChild('ofAParent', { args: ['', ''], workflowId: `${workflowInfo().workflowId}/failing` }).catch(
      details,
    ),
  ] as string[];
  await condition(() => told.length > 0);
  return continueAsNew<typeof everyWay>(text, [...said, ...told]);
}

export async function ofAParent(text: string, parentId: string): Promise<string> {
  if (parentId === '') throw ApplicationFailure.nonRetryable('no parent', 'NoParent', 'failed details');
  await getExternalWorkflowHandle(parentId).signal(tellSignal, `signal ${text}`);
  return `child ${text}`;
}

/** Waits for a word, from a signal or from its activity, and answers with it. */
export async function oneWord(by: 'signal' | 'activity'): Promise<string> {
  let word: string | undefined;
  setHandler(tellSignal, (told) => void (word = told));
  if (by === 'activity') return answeredByName('x');
  await condition(() => word !== undefined);
  return word ?? '';
}

/** Started by a schedule. */
export async function scheduled(text: string): Promise<string> {
  return (await echo(text)).toUpperCase();
}
