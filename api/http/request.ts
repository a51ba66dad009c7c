/** A request as the routes see it: who sent it, what came with it, and whether its client is still there. */
import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import type { KeyOwner } from '../../store/api-keys';
import type { LargeBody } from './large-bodies';

export interface ApiEnv {
  Bindings: HttpBindings;
  Variables: { requestId: string; caller: KeyOwner; file?: LargeBody['file'] };
}
export type ApiContext = Context<ApiEnv>;

/** Whose share a request takes: its tenant's, or that of a key of the administration. */
export const ownerOf = ({ tenantId, apiKeyId }: KeyOwner): string => tenantId ?? apiKeyId;

/** The API key itself, as it came. */
export const bearerOf = (c: ApiContext): string | undefined => bearerIn(c.req.header('authorization'));

export const bearerIn = (authorization = ''): string | undefined => /^Bearer (\S+)$/.exec(authorization)?.[1];

/** What a request with a file asks for, as a repeat of it has to be the same: of a large file that is its hash. */
export const withFileHash = (c: ApiContext, body: object): object => {
  const file = c.get('file');
  return file ? { ...body, fileSha256: file.sha256 } : body;
};

/** Aborted when the client goes away before it is answered. The request's own signal would cost most of a small request. */
export function clientGone(c: ApiContext): AbortSignal {
  const gone = new AbortController();
  const { incoming, outgoing } = c.env;
  // It may have gone while the request waited for its turn.
  if (incoming.socket.destroyed) gone.abort();
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) gone.abort();
  });
  return gone.signal;
}
