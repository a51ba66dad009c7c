/**
 * What a workflow does with an input that it cannot be meant to work on: it ends as Failed, with what is wrong, before it does anything
 * else. Somebody started it by hand, since the product starts none so; left alone it would fail its tasks until it is terminated.
 */
import { workflowInfo } from '@temporalio/workflow';
import { inOneSpelling } from '../core/ids';
import { failureWith } from './failures';
import { isPatched } from './patches';

/**
 * @param named the id in the input that the workflow's own id has to name where it is one of the product's: an authority never decides
 * for another tenant than those that signal it mean.
 * @throws ApplicationFailure `invalid_request`. An execution that went on with its input before this was looked at still does.
 */
export function refuseNonsense(
  problem: string | undefined,
  named?: { prefix: string; field: string; id: unknown },
): void {
  const { workflowId, workflowType } = workflowInfo();
  const wrong =
    problem ??
    (named && isOfAnother(workflowId, named)
      ? `${named.field} has to be the one that the workflow's id names`
      : undefined);
  // Asked only where it matters: what is started as it should be has no mark of it in its history.
  if (wrong === undefined || !isPatched('inputs-read')) return;
  throw failureWith(
    'invalid_request',
    `The input of ${workflowType} cannot be used: ${wrong}. Nothing was done. Runs and conversations are started over HTTP; authorities are by ` +
      'whoever asks for money, upkeep is by its schedules.',
  );
}

const isOfAnother = (workflowId: string, { prefix, id }: { prefix: string; id: unknown }): boolean =>
  workflowId.startsWith(prefix) && inOneSpelling(workflowId.slice(prefix.length)) !== inOneSpelling(String(id));
