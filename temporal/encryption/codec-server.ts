/**
 * The codec server: Temporal UI and the CLI send it the payloads that they show, and it sends them back in the clear, to those who
 * may see them. Whoever reaches it without proof is only served on loopback.
 */
import { serve } from '@hono/node-server';
import { Hono, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { cors } from 'hono/cors';
import { jwk } from 'hono/jwk';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { PayloadDecryptionError } from './payload-codec';

export interface CodecServerOptions {
  codec: PayloadCodec;
  host: string;
  port: number;
  /** Where Temporal UI is opened from, such as http://127.0.0.1:8233. */
  uiOrigins: readonly string[];
  /** Tokens of people, as Temporal UI passes them on: whose signatures are taken, and for whom they have to be. */
  tokens?: { jwksUrl: string; issuer: string; audience: string } | undefined;
}

/** A payload as JSON carries it. */
interface JsonPayload {
  metadata?: Record<string, string>;
  data?: string;
}

const bodyBytesMax = 16 * 1024 * 1024;
/** How long a client may take over its headers and its whole request. */
const serverOptions = { headersTimeout: 10_000, requestTimeout: 30_000 };
const isLoopback = (host: string): boolean => ['127.0.0.1', '::1', 'localhost'].includes(host);

/** @throws Error when it would serve others than this machine without asking who they are. */
export function startCodecServer(options: CodecServerOptions): Promise<{ url: string; close: () => Promise<void> }> {
  const { host, port, tokens } = options;
  if (!isLoopback(host) && !tokens) {
    throw new Error(
      `The codec server was not started: on ${host} anybody could have payloads decrypted. Set SPENDLOCK_CODEC_JWKS_URL, ` +
        'SPENDLOCK_CODEC_ISSUER and SPENDLOCK_CODEC_AUDIENCE, or have it listen on 127.0.0.1.',
    );
  }
  const app = codecApp(options);
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port, serverOptions }, (address) => {
      const close = (): Promise<void> => new Promise((closed) => server.close(() => closed()));
      resolve({ url: `http://${host}:${address.port}`, close });
    });
    server.once('error', reject);
  });
}

export function codecApp({
  codec,
  uiOrigins,
  tokens,
}: Pick<CodecServerOptions, 'codec' | 'uiOrigins' | 'tokens'>): Hono {
  const app = new Hono();
  app.use(
    cors({
      origin: [...uiOrigins],
      allowMethods: ['POST'],
      allowHeaders: ['content-type', 'x-namespace', 'authorization'],
      credentials: true,
    }),
  );
  app.use(fromKnownPages(uiOrigins));
  if (tokens) {
    const { jwksUrl, issuer, audience } = tokens;
    app.use(jwk({ jwks_uri: jwksUrl, alg: ['RS256', 'ES256'], verification: { iss: issuer, aud: audience } }));
  }
  app.use(bodyLimit({ maxSize: bodyBytesMax }));
  app.onError((error, c) => {
    if (error instanceof PayloadDecryptionError) return c.text(error.message, 422);
    if ('getResponse' in error) return (error as { getResponse: () => Response }).getResponse();
    return c.text('The body is not {"payloads": […]} with metadata and data in base64.', 400);
  });
  const convert = (work: (payloads: Payload[]) => Promise<Payload[]>) => async (body: { payloads: JsonPayload[] }) => ({
    payloads: (await work(body.payloads.map(fromJson))).map(toJson),
  });
  const decode = convert((payloads) => codec.decode(payloads));
  const encode = convert((payloads) => codec.encode(payloads));
  app.post('/decode', async (c) => c.json(await decode(await c.req.json())));
  app.post('/encode', async (c) => c.json(await encode(await c.req.json())));
  return app;
}

/** A page of somebody else's, open in the same browser, may not ask. */
const fromKnownPages =
  (origins: readonly string[]): MiddlewareHandler =>
  async (c, next) => {
    const origin = c.req.header('origin');
    if (origin !== undefined && !origins.includes(origin))
      return c.text(`${origin} may not ask. SPENDLOCK_CODEC_UI_ORIGINS lists who may.`, 403);
    return next();
  };

const fromJson = ({ metadata = {}, data = '' }: JsonPayload): Payload => ({
  metadata: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, Buffer.from(value, 'base64')])),
  data: Buffer.from(data, 'base64'),
});

const toJson = ({ metadata, data }: Payload): JsonPayload => ({
  metadata: Object.fromEntries(
    Object.entries(metadata ?? {}).map(([name, value]) => [name, Buffer.from(value).toString('base64')]),
  ),
  data: Buffer.from(data ?? []).toString('base64'),
});
