/** Which text the API takes where people will read it. */
import { z } from '@hono/zod-openapi';

/** Text that people read in lists and terminals: no control characters, line breaks, or marks that turn text around. */
export const plainText = (max: number): z.ZodString =>
  z
    .string()
    .min(1)
    .max(max)
    .regex(/^[^\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]*$/u, { error: 'must have no control characters' });
