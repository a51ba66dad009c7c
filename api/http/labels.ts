/** Labels as requests name them and answers show them. */
import { z } from '@hono/zod-openapi';
import { problemOfLabelQuery } from '../../core/label-query';
import { labelled, labelsMax, mergedLabels, problemOfLabels, type Labels } from '../../core/labels';
import { ApiError } from './errors';

/** Not a record of zod's, which leaves a key of `__proto__` out: what is not so is refused, never cut. */
export const labelsSchema = z
  .custom<Record<string, string>>()
  .superRefine((labels, refined) => {
    const problem = problemOfLabels(labels);
    if (problem !== undefined) refined.addIssue({ code: 'custom', message: problem });
  })
  .openapi({
    type: 'object',
    additionalProperties: { type: 'string' },
    description: `What the costs are for: at most ${labelsMax}, by keys of small letters, digits, dots, hyphens and underscores.`,
    example: { team: 'search' },
  });

export const labelsView = z
  .record(z.string(), z.string())
  .nullable()
  .openapi({ description: 'What it is for; null for nothing that was named.' });

/** Of labels from several places as many as there may be: those nearest to the call, which come last. */
export function fittingLabels(...from: readonly (Labels | undefined)[]): Labels | undefined {
  const kept: Record<string, string> = {};
  for (const labels of [...from].reverse())
    for (const [key, text] of Object.entries(labels ?? {}))
      if (!Object.hasOwn(kept, key) && Object.keys(kept).length < labelsMax) kept[key] = text;
  return mergedLabels(kept);
}

/**
 * A request's labels, over those that it inherits, of which the farthest are left out where they are too many by themselves.
 * @throws ApiError where those that were sent are too many with them; `nothing` says what was not done.
 */
export function labelsOver(
  sent: Labels | undefined,
  { inherited, nothing }: { inherited: readonly (Labels | undefined)[]; nothing: string },
): ReturnType<typeof labelled> {
  const found = labelled(sent, fittingLabels(...inherited));
  const problem = found.labels && problemOfLabels(found.labels);
  if (problem === undefined) return found;
  throw new ApiError('invalid_request', `labels: with those of the key and the run they ${problem}. ${nothing}`);
}

/** The same of a call that was made: its cost is recorded, with what was sent and with as many of the others as fit. */
export const labelsOfMade = (
  sent: Labels | undefined,
  inherited: readonly (Labels | undefined)[],
): ReturnType<typeof labelled> => labelled(sent, fittingLabels(...inherited, sent));

/** `team:search` in a query, which may be there several times: what has all of them. */
export const labelQuery = z
  .preprocess((asked) => (typeof asked === 'string' ? [asked] : asked), z.array(z.string()).max(labelsMax))
  .transform((terms, refined) => {
    const labels: Record<string, string> = {};
    for (const term of terms) {
      const [, key = '', value = ''] = /^([^:]*):(.*)$/s.exec(term) ?? [];
      const problem = Object.hasOwn(labels, key) ? 'must name each key once' : problemOfLabelQuery({ [key]: value });
      if (problem !== undefined)
        refined.addIssue({ code: 'custom', message: `must be such as team:search, and ${problem}` });
      labels[key] = value;
    }
    return labels;
  })
  .openapi({
    type: 'array',
    items: { type: 'string' },
    description:
      'Such as `team:search`, and there may be several: what has all of them. `team:other` is what is beyond the thousandth value of a key.',
  });
