/** The codec server as a process: `npm run codec-server`. Configured by its environment. */
import { z } from 'zod';
import { httpUrl, port, problemsOf, wrongEnvironment } from '../environment';
import { payloadKeysFrom } from './keys';
import { EncryptingCodec } from './payload-codec';
import { startCodecServer } from './codec-server';

const schema = z.object({
  SPENDLOCK_CODEC_HOST: z.string().min(1).default('127.0.0.1'),
  SPENDLOCK_CODEC_PORT: port(8089),
  SPENDLOCK_CODEC_UI_ORIGINS: z
    .string()
    .default('http://127.0.0.1:8233,http://localhost:8233')
    .transform((text) => text.split(',')),
  SPENDLOCK_CODEC_JWKS_URL: httpUrl.optional(),
  SPENDLOCK_CODEC_ISSUER: z.string().min(1).optional(),
  SPENDLOCK_CODEC_AUDIENCE: z.string().min(1).optional(),
});

const help = `Decrypts payloads for Temporal UI and the CLI. Set its address as the codec server of Temporal UI.

  SPENDLOCK_PAYLOAD_KEYS      the keys of the workers, id:base64[,id:base64…]
  SPENDLOCK_CODEC_HOST        where it listens; 127.0.0.1 when not set
  SPENDLOCK_CODEC_PORT        8089 when not set
  SPENDLOCK_CODEC_UI_ORIGINS  where Temporal UI is opened from, comma-separated
  SPENDLOCK_CODEC_JWKS_URL, SPENDLOCK_CODEC_ISSUER, SPENDLOCK_CODEC_AUDIENCE
                              whose tokens are taken; needed beyond this machine

Example: SPENDLOCK_PAYLOAD_KEYS="2026-11:$(openssl rand -base64 32)" npm run codec-server`;

async function main(): Promise<void> {
  if (process.argv.includes('--help')) {
    process.stdout.write(`${help}\n`);
    return;
  }
  const parsed = schema.safeParse(process.env);
  if (!parsed.success) throw wrongEnvironment('The codec server', problemsOf(parsed.error));
  const keys = payloadKeysFrom(process.env);
  if (!keys) throw new Error('The codec server was not started: SPENDLOCK_PAYLOAD_KEYS is not set.');
  const env = parsed.data;
  const { SPENDLOCK_CODEC_JWKS_URL: jwksUrl, SPENDLOCK_CODEC_ISSUER: issuer, SPENDLOCK_CODEC_AUDIENCE: audience } = env;
  const isPartial = [jwksUrl, issuer, audience].some(Boolean) && ![jwksUrl, issuer, audience].every(Boolean);
  if (isPartial) throw new Error('SPENDLOCK_CODEC_JWKS_URL, …_ISSUER and …_AUDIENCE are set together or not at all.');
  const server = await startCodecServer({
    codec: new EncryptingCodec(keys),
    host: env.SPENDLOCK_CODEC_HOST,
    port: env.SPENDLOCK_CODEC_PORT,
    uiOrigins: env.SPENDLOCK_CODEC_UI_ORIGINS,
    tokens: jwksUrl && issuer && audience ? { jwksUrl, issuer, audience } : undefined,
  });
  process.stdout.write(`The codec server listens at ${server.url}.\n`);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => void server.close());
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
});
