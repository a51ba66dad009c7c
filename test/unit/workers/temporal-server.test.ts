import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { temporalServerFrom } from '../../../temporal/connection';

describe('the server that the environment names', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-temporal-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text);
    return path.join(folder, name);
  };

  test('is the local one when nothing is named, and empty variables name nothing', () => {
    const local = { connection: { address: '127.0.0.1:7233' }, namespace: 'default' };
    expect(temporalServerFrom({})).toEqual(local);
    expect(temporalServerFrom({ TEMPORAL_ADDRESS: '', TEMPORAL_NAMESPACE: '', TEMPORAL_API_KEY: '' })).toEqual(local);
  });

  test('is reached with TLS when there is an API key', () => {
    const environment = {
      TEMPORAL_ADDRESS: 'eu.api.example:7233',
      TEMPORAL_NAMESPACE: 'acme.a1b2c',
      TEMPORAL_API_KEY: 'k',
    };
    expect(temporalServerFrom(environment)).toMatchObject({
      connection: { address: 'eu.api.example:7233', apiKey: 'k', tls: expect.anything() as unknown },
      namespace: 'acme.a1b2c',
    });
  });

  test('is reached with certificates of a client', () => {
    const { connection } = temporalServerFrom({
      TEMPORAL_ADDRESS: 'temporal.example:7233',
      TEMPORAL_TLS: 'true',
      TEMPORAL_TLS_SERVER_NAME: 'inner.example',
      TEMPORAL_TLS_CLIENT_CERT_PATH: file('cert.pem', 'CERTIFICATE'),
      TEMPORAL_TLS_CLIENT_KEY_PATH: file('key.pem', 'KEY'),
    });
    expect(connection.tls).toMatchObject({
      serverNameOverride: 'inner.example',
      clientCertPair: { crt: Buffer.from('CERTIFICATE'), key: Buffer.from('KEY') },
    });
  });

  test('comes from a profile of a file that is named, and the environment goes before it', () => {
    const config = file(
      'temporal.toml',
      '[profile.production]\naddress = "prod.example:7233"\nnamespace = "prod"\n[profile.production.grpc_meta]\nteam = "a"\n',
    );
    const environment = { TEMPORAL_CONFIG_FILE: config, TEMPORAL_PROFILE: 'production' };
    expect(temporalServerFrom(environment)).toMatchObject({
      connection: { address: 'prod.example:7233', metadata: { team: 'a' } },
      namespace: 'prod',
    });
    expect(temporalServerFrom({ ...environment, TEMPORAL_NAMESPACE: 'other' }).namespace).toBe('other');
    expect(() => temporalServerFrom({ TEMPORAL_CONFIG_FILE: config, TEMPORAL_PROFILE: 'none' })).toThrow();
  });
});
