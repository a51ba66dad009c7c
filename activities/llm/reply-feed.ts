/**
 * Replies on their way to those who watch them while they are written. Pieces are gathered for some milliseconds, so that a
 * fast model costs a few statements a second. Nobody waits for them: a piece that cannot be written is left out, and the
 * whole reply is stored in any case.
 */
import type { Logger } from '../../telemetry/log';
import type { Pool } from '../../store/pool';
import { storableText } from '../../core/storable';
import { writeDeltas, type ReplyDelta } from '../../store/reply-deltas';

/** How long pieces are gathered after the first one of a while was written at once. */
const gatherMs = 30;

interface Reply {
  tenantId: string;
  runId: string;
  operationId: string;
}

interface Watched extends Reply {
  /** Characters so far. */
  position: number;
  /** The first half of a pair of surrogates, whose other half has not come. */
  half: string;
  pending: ReplyDelta[];
  /** Pieces are being written, or gathered. */
  busy: boolean;
}

export class ReplyFeed {
  private readonly replies = new Map<string, Watched>();

  constructor(private readonly dependencies: { pool: Pool; log: Logger }) {}

  /** A piece of a reply's text. */
  text(reply: Reply, piece: string): void {
    const watched = this.replies.get(reply.operationId) ?? {
      ...reply,
      position: 0,
      half: '',
      pending: [],
      busy: false,
    };
    this.replies.set(reply.operationId, watched);
    // A piece may end in the middle of a pair: its half waits for the other one.
    const all = watched.half + piece;
    watched.half = /[\ud800-\udbff]$/.exec(all)?.[0] ?? '';
    const text = storableText(all.slice(0, all.length - watched.half.length));
    if (text === '') return;
    const last = watched.pending.at(-1);
    if (last) last.text += text;
    else watched.pending.push({ operationId: reply.operationId, position: watched.position, text });
    watched.position += text.length;
    if (!watched.busy) void this.write(watched);
  }

  /** The reply is whole, or will never be. */
  ended(operationId: string): void {
    this.replies.delete(operationId);
  }

  private async write(watched: Watched): Promise<void> {
    const { pool, log } = this.dependencies;
    const { tenantId, runId, operationId } = watched;
    watched.busy = true;
    while (watched.pending.length > 0 && this.replies.has(operationId)) {
      const deltas = watched.pending.splice(0);
      await writeDeltas(pool, { tenantId, runId, deltas }).catch((error: unknown) => {
        log.debug({ error }, 'watchers of a reply could not be told');
      });
      await new Promise((resolve) => setTimeout(resolve, gatherMs));
    }
    watched.busy = false;
  }
}
