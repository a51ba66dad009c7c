/** Labels as requests name them and answers show them. */
import { z } from '@hono/zod-openapi';
import { labelled, labelsMax, problemOfLabels, type Labels } from '../../core/labels';
import { ApiError } from './errors';

export const labelsSchema = z
  .record(z.string(), z.string())
  .superRefine((labels, refined) => {
    const problem = problemOfLabels(labels);
    if (problem !== undefined) refined.addIssue({ code: 'custom', message: problem });
  })
  .openapi({
    description: `What the costs are for: at most ${labelsMax}, by keys of small letters, digits, dots, hyphens and underscores.`,
    example: { team: 'search' },
  });

export const labelsView = z
  .record(z.string(), z.string())
  .nullable()
  .openapi({ description: 'What it is for; null for nothing that was named.' });

/** A request's labels, over those that it inherits. @throws ApiError where they are too many together; `nothing` says what was not done. */
export function labelsOver(
  sent: Labels | undefined,
  { inherited, nothing }: { inherited: readonly (Labels | undefined)[]; nothing: string },
): ReturnType<typeof labelled> {
  const found = labelled(sent, ...inherited);
  const problem = found.labels && problemOfLabels(found.labels);
  if (problem === undefined) return found;
  throw new ApiError('invalid_request', `labels: with those of the key and the run they ${problem}. ${nothing}`);
}

/** `team:search` in a query, which may be there several times: what has all of them. */
export const labelQuery = z
  .preprocess((asked) => (typeof asked === 'string' ? [asked] : asked), z.array(z.string()).max(labelsMax))
  .transform((terms, refined) => {
    const labels: Record<string, string> = {};
    for (const term of terms) {
      const [, key = '', value = ''] = /^([^:]*):(.*)$/s.exec(term) ?? [];
      const problem = Object.hasOwn(labels, key) ? 'must name each key once' : problemOfLabels({ [key]: value });
      if (problem !== undefined)
        refined.addIssue({ code: 'custom', message: `must be such as team:search: ${problem}` });
      labels[key] = value;
    }
    return labels;
  })
  .openapi({
    type: 'array',
    items: { type: 'string' },
    description: 'Such as `team:search`, and there may be several: what has all of them.',
  });
