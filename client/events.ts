/** Server-sent events as they are read, by Node and by browsers. */

export interface StreamEvent {
  /** Its number in the run or conversation; pieces of replies and the end of a stream have none. */
  id?: number;
  type: string;
  data: Record<string, unknown>;
}

/** A piece without what was seen of it before its connection broke. */
export function unseen(event: StreamEvent, seen: Map<string, number>): StreamEvent | undefined {
  const { operationId, position, text } = event.data as { operationId: string; position: number; text: string };
  const from = seen.get(operationId) ?? 0;
  const end = position + text.length;
  if (end <= from) return undefined;
  seen.set(operationId, end);
  const skip = Math.max(0, from - position);
  return { ...event, data: { operationId, position: position + skip, text: text.slice(skip) } };
}

/** Reads a stream of server-sent events. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  let buffered = '';
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    buffered += decoder.decode(chunk, { stream: true });
    for (let end = buffered.indexOf('\n\n'); end >= 0; end = buffered.indexOf('\n\n')) {
      const block = buffered.slice(0, end);
      buffered = buffered.slice(end + 2);
      const fields = Object.fromEntries(
        block.split('\n').flatMap((line) => {
          const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
          return name === undefined ? [] : [[name, value ?? '']];
        }),
      ) as Record<string, string>;
      if (fields.data === undefined) continue;
      yield {
        ...(fields.id === undefined ? {} : { id: Number(fields.id) }),
        type: fields.event ?? 'message',
        data: JSON.parse(fields.data) as Record<string, unknown>,
      };
    }
  }
}
