/**
 * How workflows read what Temporal hands them. A person can send an argument in an encoding that nobody knows, or JSON that is
 * none: Temporal's own converter would throw before any handler sees it, at each try of the task, and the workflow would stand
 * still for good. Here it becomes a text that no handler takes for what it asked for.
 */
import { DefaultPayloadConverter, type Payload } from '@temporalio/common';

type Context = Parameters<DefaultPayloadConverter['fromPayload']>[1];
type Hint<T> = Parameters<typeof DefaultPayloadConverter.prototype.fromPayload<T>>[2];

class TolerantPayloadConverter extends DefaultPayloadConverter {
  override fromPayload<T>(payload: Payload, context?: Context, hint?: Hint<T>): T {
    try {
      return super.fromPayload<T>(payload, context, hint);
    } catch {
      return 'something that cannot be read' as T;
    }
  }
}

export const payloadConverter = new TolerantPayloadConverter();
