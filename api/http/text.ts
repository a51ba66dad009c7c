/** Which text the API takes where people will read it. */
import { z } from '@hono/zod-openapi';

/**
 * Spelled out, without classes of Unicode: the pattern is in the OpenAPI document, where it has no flags, and is read by programs
 * in other languages. The codes are those of control characters, line and paragraph separators, and marks of direction.
 */
const plain = /^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$/;

/** Text that people read in lists and terminals: no control characters, line breaks, or marks that turn text around. */
export const plainText = (max: number): z.ZodString => plainly(z.string().min(1).max(max));

/** The same of a sentence that a person wrote: without the blanks around it. */
export const plainWords = (max: number): z.ZodString => plainly(z.string().trim().min(1).max(max));

/** The same of what may be empty. */
export const plainly = (text: z.ZodString): z.ZodString =>
  text.regex(plain, { error: 'must have no control characters' });

/** What file systems take. */
const fileNameBytesMax = 255;

/** A file's name as files have them. The database looks at it once more (`run_files_name_check`). */
export const fileName = plainText(fileNameBytesMax)
  .regex(/^(?!\.{1,2}$)[^/\\]*$/, { error: 'must be a name without a path: no / or \\, and neither . nor ..' })
  .refine((name) => Buffer.byteLength(name) <= fileNameBytesMax, {
    error: `must have at most ${fileNameBytesMax} bytes in UTF-8`,
  });
