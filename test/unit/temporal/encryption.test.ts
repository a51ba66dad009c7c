import { createCipheriv, createDecipheriv, generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { defaultPayloadConverter, type Payload, type SerializationContext } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import fc from 'fast-check';
import { sign } from 'hono/jwt';
import { codecApp, startCodecServer } from '../../../temporal/encryption/codec-server';
import { payloadKeysFrom } from '../../../temporal/encryption/keys';
import { EncryptingCodec, PayloadDecryptionError, PayloadMovedError } from '../../../temporal/encryption/payload-codec';

const newKey = (): string => randomBytes(32).toString('base64');
const codecOf = (text: string): EncryptingCodec => {
  const keys = payloadKeysFrom({ SPENDLOCK_PAYLOAD_KEYS: text });
  if (!keys) throw new Error('no keys');
  return new EncryptingCodec(keys);
};
const payloadOf = (value: unknown): Payload => defaultPayloadConverter.toPayload<unknown>(value);
const valuesOf = (payloads: Payload[]): unknown[] =>
  payloads.map((payload) => defaultPayloadConverter.fromPayload(payload));

describe('encrypted payloads', () => {
  const [first, second] = [newKey(), newKey()];

  test('come back as they were, and show nothing of what they are', async () => {
    const codec = codecOf(`a:${first}`);
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        const [sealed] = await codec.encode([payloadOf({ canary: value })]);
        expect(Buffer.from(sealed?.data ?? []).includes('canary')).toBe(false);
        const [clear] = await codec.decode([sealed as Payload]);
        expect(defaultPayloadConverter.fromPayload(clear as Payload)).toEqual(
          JSON.parse(JSON.stringify({ canary: value })),
        );
      }),
      { numRuns: 200 },
    );
  });

  test('differ each time', async () => {
    const codec = codecOf(`a:${first}`);
    const [one, other] = await codec.encode([payloadOf('same'), payloadOf('same')]);
    expect(Buffer.from(one?.data ?? [])).not.toEqual(Buffer.from(other?.data ?? []));
  });

  test('of a former key are read after the key was changed; without that key they are not', async () => {
    const sealed = await codecOf(`old:${first}`).encode([payloadOf('kept')]);
    const [clear] = await codecOf(`new:${second},old:${first}`).decode(sealed);
    expect(defaultPayloadConverter.fromPayload(clear as Payload)).toBe('kept');
    const [renewed] = await codecOf(`new:${second},old:${first}`).encode([payloadOf('x')]);
    expect(Buffer.from(renewed?.metadata?.['encryption-key-id'] ?? []).toString()).toBe('new');
    await expect(codecOf(`new:${second}`).decode(sealed)).rejects.toThrow(
      /under the key old,.*has only new\. Put that key back/,
    );
    await expect(codecOf(`old:${second}`).decode(sealed)).rejects.toThrow(PayloadDecryptionError);
  });

  test('are refused once a bit of them, or the name of their key, was changed', async () => {
    const codec = codecOf(`a:${first},b:${first}`);
    const [sealed] = await codec.encode([payloadOf('money')]);
    const { metadata = {}, data } = sealed as Payload;
    for (let at = 0; at < (data?.length ?? 0); at += 7) {
      const changed = Buffer.from(data ?? []);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await expect(codec.decode([{ metadata, data: changed }])).rejects.toThrow(PayloadDecryptionError);
    }
    const renamed = { metadata: { ...metadata, 'encryption-key-id': Buffer.from('b') }, data: data ?? null };
    await expect(codec.decode([renamed])).rejects.toThrow(PayloadDecryptionError);
  });

  test('XC7: are refused where nonce and tag are not whole', async () => {
    const codec = codecOf(`a:${first}`);
    const [sealed] = await codec.encode([payloadOf('money')]);
    const { metadata = {}, data } = sealed as Payload;
    for (let length = 0; length < 28; length += 1) {
      const cut = { metadata, data: Buffer.from(data ?? []).subarray(0, length) };
      await expect(codec.decode([cut])).rejects.toThrow(PayloadDecryptionError);
    }
  });

  /** As the version before did it, and as its processes do while a new one is rolled out. */
  const before = {
    seal(clear: Uint8Array): Payload {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', Buffer.from(first, 'base64'), nonce);
      cipher.setAAD(Buffer.from('a'));
      const data = Buffer.concat([nonce, cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
      const metadata = { encoding: Buffer.from('binary/encrypted'), 'encryption-key-id': Buffer.from('a') };
      return { metadata, data };
    },
    open({ data }: Payload): Uint8Array {
      const sealed = Buffer.from(data ?? []);
      const key = Buffer.from(first, 'base64');
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 });
      decipher.setAAD(Buffer.from('a'));
      decipher.setAuthTag(sealed.subarray(-16));
      return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
    },
  };
  const proto = temporal.api.common.v1.Payload;
  const workflow = (workflowId: string, namespace = 'default'): SerializationContext => ({
    type: 'workflow',
    namespace,
    workflowId,
  });

  test('XC7: of the version before are read, and that version reads new ones', async () => {
    const codec = codecOf(`a:${first}`);
    const old = before.seal(proto.encode(payloadOf('yesterday')).finish());
    const [read] = await codec.decode([old], workflow('w'));
    expect(defaultPayloadConverter.fromPayload(read as Payload)).toBe('yesterday');
    const [sealed] = await codec.encode([payloadOf('today')], workflow('w'));
    expect(defaultPayloadConverter.fromPayload(proto.decode(before.open(sealed as Payload)))).toBe('today');
  });

  test('XC7: that a process of the version before takes along into another workflow are read there', async () => {
    const codec = codecOf(`a:${first}`);
    const [ofChild] = await codec.encode([payloadOf('failed')], workflow('child'));
    // A child's failure is handed on as it was read.
    const ofParent = before.seal(before.open(ofChild as Payload));
    const [read] = await codec.decode([ofParent], workflow('parent'));
    expect(valuesOf([read as Payload])).toEqual(['failed']);
  });

  test('XC7: are refused in another workflow or namespace, and read in activities of their own and where no workflow is known', async () => {
    const codec = codecOf(`a:${first}`);
    const sealed = await codec.encode([payloadOf('money')], workflow('run/1'));
    const activity = { type: 'activity', namespace: 'default', workflowId: 'run/1', isLocal: false } as const;
    for (const context of [workflow('run/1'), activity, undefined, workflow('run/1-2026-11-27T10:00:00Z')])
      expect(valuesOf(await codec.decode(sealed, context))).toEqual(['money']);
    for (const context of [workflow('run/2'), workflow('run/1', 'other'), { ...activity, workflowId: 'run/2' }])
      await expect(codec.decode(sealed, context)).rejects.toThrow(PayloadMovedError);
    const toNobody = await codec.encode([payloadOf('by a person')]);
    expect(valuesOf(await codec.decode(toNobody, workflow('run/1')))).toEqual(['by a person']);
  });

  test('XC7: of a key that nobody has name it, but nothing that only claims to be one', async () => {
    const [sealed] = await codecOf(`old:${first}`).encode([payloadOf('x')]);
    const claims = (id: string) => ({
      ...sealed,
      metadata: { ...sealed?.metadata, 'encryption-key-id': Buffer.from(id) },
    });
    const codec = codecOf(`a:${first}`);
    await expect(codec.decode([claims('2026-10')], workflow('w'))).rejects.toThrow(
      /^A payload in the workflow w \(namespace default\) was encrypted under the key 2026-10, /,
    );
    await expect(codec.decode([claims('\u001b[2J'.repeat(9_999))])).rejects.toThrow(/the key \(no id of a key\)/);
  });

  test('and such as were never encrypted are read side by side', async () => {
    const plain = payloadOf({ of: 'before' });
    expect(await codecOf(`a:${first}`).decode([plain])).toEqual([plain]);
  });

  test.each([
    ['no-key', 'must have 32 bytes'],
    ['a:c2hvcnQ=', 'must have 32 bytes'],
    [`a b:${newKey()}`, 'must be id:key'],
    [`a:${newKey()},a:${newKey()}`, 'repeats the id a'],
    [`a:${newKey()}:more`, 'must be id:key'],
  ])('keys like %j are refused, without being repeated', (text, problem) => {
    expect(() => payloadKeysFrom({ SPENDLOCK_PAYLOAD_KEYS: text })).toThrow(problem);
    const key = text.split(':')[1];
    if (key)
      expect(() => payloadKeysFrom({ SPENDLOCK_PAYLOAD_KEYS: text })).not.toThrow(
        new RegExp(key.replaceAll('+', '\\+')),
      );
  });
});

describe('the codec server', () => {
  const codec = codecOf(`a:${newKey()}`);
  const uiOrigins = ['http://ui.example'];
  const asJson = ({ metadata, data }: Payload) => ({
    metadata: Object.fromEntries(
      Object.entries(metadata ?? {}).map(([k, v]) => [k, Buffer.from(v).toString('base64')]),
    ),
    data: Buffer.from(data ?? []).toString('base64'),
  });
  const ask = async (
    app: ReturnType<typeof codecApp>,
    { path = '/decode', headers = {}, body }: { path?: string; headers?: Record<string, string>; body?: unknown } = {},
  ): Promise<Response> => {
    const sealed = (await codec.encode([payloadOf('clear')])).map(asJson);
    return app.request(path, { method: 'POST', headers, body: JSON.stringify(body ?? { payloads: sealed }) });
  };

  test('decrypts for the page of Temporal UI, and no other page', async () => {
    const app = codecApp({ codec, uiOrigins });
    const answer = await ask(app, { headers: { origin: 'http://ui.example' } });
    expect(answer.headers.get('access-control-allow-origin')).toBe('http://ui.example');
    expect(await answer.json()).toEqual({ payloads: [asJson(payloadOf('clear'))] });
    expect((await ask(app, { headers: { origin: 'http://elsewhere.example' } })).status).toBe(403);
    expect((await ask(app, { body: { payload: 1 } })).status).toBe(400);
    const foreign = (await codecOf(`b:${newKey()}`).encode([payloadOf('x')])).map(asJson);
    expect((await ask(app, { body: { payloads: foreign } })).status).toBe(422);
  });

  test('asks for a token where one is wanted: signed by whom it trusts, for it, and not yet over', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwks = JSON.stringify({
      keys: [{ ...publicKey.export({ format: 'jwk' }), kid: '1', alg: 'RS256', use: 'sig' }],
    });
    const issuer = createServer((_request, response) => response.end(jwks));
    await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
    const jwksUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/keys`;
    const app = codecApp({
      codec,
      uiOrigins,
      tokens: { jwksUrl, issuer: 'https://idp.example', audience: 'temporal' },
    });
    const tokenOf = async (claims: object, key = privateKey): Promise<string> =>
      sign(
        { iss: 'https://idp.example', aud: 'temporal', exp: Math.floor(Date.now() / 1_000) + 60, ...claims },
        { ...key.export({ format: 'jwk' }), kid: '1', alg: 'RS256' },
        'RS256',
      );
    const status = async (token?: string): Promise<number> =>
      (await ask(app, { headers: token === undefined ? {} : { authorization: `Bearer ${token}` } })).status;
    expect(await status(await tokenOf({}))).toBe(200);
    expect(await status()).toBe(401);
    expect(await status('nonsense')).toBe(401);
    expect(await status(await tokenOf({}, other.privateKey))).toBe(401);
    expect(await status(await tokenOf({ aud: 'another' }))).toBe(401);
    expect(await status(await tokenOf({ iss: 'https://elsewhere.example' }))).toBe(401);
    expect(await status(await tokenOf({ exp: 1 }))).toBe(401);
    issuer.close();
  });

  test('does not serve other machines without asking who they are', () => {
    expect(() => startCodecServer({ codec, host: '0.0.0.0', port: 0, uiOrigins })).toThrow('anybody could have');
  });
});
