/** What the routes of tools take and give. A credential is taken, and never given. */
import { z } from '@hono/zod-openapi';
import { httpMethods, ownToolKinds, problemOfInputSchema } from '../../core/agent/own-tools';
import { amountAboveZero, author, ofTenant } from '../http/schemas';
import { plainText } from '../http/text';

/** Names that HTTP itself, or who calls, has a use for. */
const ownHeaders =
  /^(host|connection|content-.*|transfer-encoding|upgrade|te|trailer|keep-alive|expect|cookie|accept|mcp-.*|proxy-.*|sec-.*)$/i;

const credential = z
  .strictObject({
    header: z
      .string()
      .regex(/^[A-Za-z][A-Za-z0-9-]{0,63}$/, { error: 'must be the name of a header, such as authorization' })
      .refine((name) => !ownHeaders.test(name), { error: 'is a header that a call has for itself' })
      .transform((name) => name.toLowerCase())
      .default('authorization'),
    value: z
      .string()
      .min(8)
      .max(4_096)
      .regex(/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/, { error: 'must be one line of plain signs' }),
  })
  .openapi({
    description:
      'A header of each call, such as authorization: Bearer … It is kept encrypted, and shown to nobody again.',
  });

const toolName = z.string().min(1).max(64);
const description = plainText(4_000);

export const addToolBody = z
  .strictObject({
    ...ofTenant,
    name: toolName.openapi({
      description: 'Under which it is given to a run, and a model calls it.',
      example: 'weather',
    }),
    kind: z
      .enum(ownToolKinds)
      .openapi({ description: 'http: one address. mcp: an MCP server (streamable HTTP), whose tools are listed now.' }),
    url: z.string().min(1).max(2_000),
    method: z.enum(httpMethods).default('POST').openapi({
      description: 'Of http: POST sends the arguments as a JSON object, GET each as a parameter.',
    }),
    description: description
      .optional()
      .openapi({ description: 'Of http, and needed there: what it is for, as the model reads it.' }),
    inputSchema: z
      .record(z.string(), z.unknown())
      .superRefine((schema, context) => {
        const problem = problemOfInputSchema(schema);
        if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
      })
      .optional()
      .openapi({ description: 'Of http, and needed there: a JSON Schema of its arguments, an object.' }),
    priceUsd: amountAboveZero.optional().openapi({
      description: 'What each call costs; leave it out for what is free. It is reserved before, and committed after.',
    }),
    requiresApproval: z.boolean().default(false).openapi({ description: 'A person is asked before each call.' }),
    timeoutSeconds: z.int().min(1).max(120).default(30),
    resultBytesMax: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(65_536)
      .openapi({ description: 'Of what it says, no more is read.' }),
    credential: credential.optional(),
    replace: z.boolean().default(false).openapi({
      description: 'In the place of one of the same name. Runs that began go on with what a model was shown.',
    }),
    author,
  })
  .superRefine(({ kind, description: words, inputSchema, method }, context) => {
    const wrong = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
    if (kind === 'http' && words === undefined) wrong('description', 'is needed: a model goes by it');
    if (kind === 'http' && inputSchema === undefined) wrong('inputSchema', 'is needed: a model goes by it');
    if (kind === 'mcp' && (words !== undefined || inputSchema !== undefined || method !== 'POST'))
      wrong('kind', 'mcp takes no description, inputSchema and method: its server says them');
  });

export const toolQuery = z.object(ofTenant);
export const namedTool = z.object({ name: z.string().max(64).openapi({ description: 'The name of the tool.' }) });
export const removeToolBody = z.strictObject({ ...ofTenant, author });

const leftOut = z
  .array(z.object({ name: z.string(), why: z.string() }))
  .openapi({ description: 'What the server lists and no model can be shown.' });

export const toolView = z.object({
  name: z.string(),
  kind: z.enum(ownToolKinds),
  url: z.string(),
  method: z.enum(httpMethods),
  tools: z.array(z.string()).openapi({ description: 'Under which names models call it.' }),
  priceUsd: z.string().nullable(),
  requiresApproval: z.boolean(),
  timeoutSeconds: z.number(),
  resultBytesMax: z.number(),
  credentialHeader: z.string().nullable().openapi({ description: 'The header of its credential; null without one.' }),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export const addedToolView = z.object({ name: z.string(), tools: z.array(z.string()), leftOut });
export const toolTestView = z.object({
  reached: z.boolean(),
  problem: z.string().nullable().openapi({ description: 'Why not.' }),
  status: z.int().nullable().openapi({
    description:
      'Of an address: what it answered to OPTIONS, which is sent without its credential. 404 and 410 are not reached. Else null.',
  }),
  changes: z
    .array(z.string())
    .openapi({ description: 'What its server lists otherwise than it is registered: register it anew with replace.' }),
  leftOut,
});
