/** Labels as requests name them and answers show them. */
import { z } from '@hono/zod-openapi';
import { labelsMax, problemOfLabels } from '../../core/labels';

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
