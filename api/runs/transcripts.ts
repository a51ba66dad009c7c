/** What was asked, said, run and printed in a run or a conversation, and the file that came with it. */
import { z } from '@hono/zod-openapi';
import { readRunFilePiece } from '../../store/run-files';
import type { Run } from '../../store/runs';
import { readTranscriptPage, type TranscriptMessage } from '../../store/transcripts';
import type { ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { medium } from '../http/openapi';
import { cursorOf, pageFields, placeOf } from '../http/pages';
import type { ApiContext } from '../http/request';

/** A part of what was said. Programs are the input of a tool that is called, what they printed is its result. */
const contentBlock = z
  .discriminatedUnion('type', [
    z.object({ type: z.literal('text'), text: z.string() }).openapi('TextBlock'),
    z
      .object({
        type: z.literal('tool_use'),
        id: z.string(),
        name: z.string(),
        input: z.unknown().openapi({ description: 'What the tool is given: of `run_code` the program is its `code`.' }),
        thoughtSignature: z.string().optional(),
        signedBy: z.string().optional(),
      })
      .openapi('ToolUseBlock'),
    z
      .object({
        type: z.literal('tool_result'),
        tool_use_id: z.string(),
        content: z.string().openapi({ description: 'What the tool answered, such as what a program printed.' }),
        is_error: z.boolean().optional(),
      })
      .openapi('ToolResultBlock'),
    z
      .object({
        type: z.literal('opaque'),
        provider: z.string(),
        model: z.string().optional().openapi({ description: 'Whose it is, where another may not be shown it.' }),
        value: z.unknown().openapi({ description: 'What only this provider of models understands.' }),
      })
      .openapi('OpaqueBlock'),
  ])
  .openapi('ContentBlock');

export const messageView = z
  .object({
    sequence: z.number(),
    role: z.enum(['user', 'assistant']),
    content: z.array(contentBlock),
    at: z.string().openapi({ description: 'When it was stored.' }),
  })
  .openapi('Message');
export type MessageView = z.infer<typeof messageView>;

export const transcriptView = z.object({ messages: z.array(messageView), ...pageFields }).openapi('Transcript');

const place = z.tuple([z.int().min(0).max(2_147_483_647)]);

/** The messages of a run that is no conversation: its task first. */
export async function showTranscript(
  { pool }: Pick<ApiDependencies, 'pool'>,
  run: Run,
  { cursor, limit }: { cursor?: string | undefined; limit: number },
): Promise<z.infer<typeof transcriptView>> {
  const [afterSequence = 0] = placeOf(cursor, place) ?? [];
  const { messages, hasMore } = await readTranscriptPage(pool, { ...run, afterSequence, limit });
  const opening = cursor === undefined && run.type === 'task' && !run.forgottenAt ? [openingOf(run)] : [];
  const last = messages.at(-1);
  return {
    messages: [...opening, ...messages.map(messageViewOf)],
    nextCursor: cursorOf(hasMore && last ? [last.sequence] : undefined),
  };
}

const openingOf = (run: Run): MessageView => ({
  sequence: 0,
  role: 'user',
  content: [{ type: 'text', text: run.task }],
  at: run.createdAt.toISOString(),
});

export const messageViewOf = ({
  createdAt,
  content,
  ...message
}: TranscriptMessage & { createdAt: Date }): MessageView => ({
  ...message,
  // It is stored in this form alone (activities/llm/model-provider.ts).
  content: content as MessageView['content'],
  at: createdAt.toISOString(),
});

/** The file that came with it, as it came. */
export const fileAnswer = medium('application/octet-stream', 'The file as it came; its name is in Content-Disposition');

export const fileView = z
  .object({ name: z.string(), bytes: z.number() })
  .nullable()
  .openapi({ description: 'The file that came with it; `…/file` has its content. Null once it is forgotten.' });

export const fileOfRun = ({ fileName, fileBytes }: Run): z.infer<typeof fileView> =>
  fileName === undefined ? null : { name: fileName, bytes: fileBytes ?? 0 };

const pieceBytes = 1024 * 1024;

/** @throws ApiError `not_found` where none came, or it is forgotten. */
export function sendFile(c: ApiContext, { longAnswers, exportPool }: ApiDependencies, run: Run): Promise<Response> {
  const { fileName, fileBytes = 0, forgottenAt } = run;
  if (fileName === undefined) {
    const why = forgottenAt
      ? `was forgotten at ${forgottenAt.toISOString()}, as all that was said`
      : 'is not there: none came';
    throw new ApiError('not_found', `The file of ${run.runId} ${why}.`);
  }
  return longAnswers.answer(c, {
    kind: 'file',
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': String(fileBytes),
      'content-disposition': `attachment; filename="file"; filename*=UTF-8''${encodeURIComponent(fileName)}`,
    },
    pieces: async function* () {
      for (let from = 0; from < fileBytes; from += pieceBytes)
        yield await readRunFilePiece(exportPool, run, { from, bytes: pieceBytes });
    },
  });
}
