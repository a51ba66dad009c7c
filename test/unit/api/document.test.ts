/** The OpenAPI document as one reads it and generates clients from it: every operation is named, and says who may use it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Ajv from 'ajv/dist/2020';
import { createApp } from '../../../api/app';
import type { ApiDependencies } from '../../../api/http/context';
import { tags } from '../../../api/http/openapi';
import { errorCatalogue } from '../../../core/errors';
import { roles } from '../../../core/roles';

interface Operation {
  name: string;
  operationId?: string;
  summary?: string;
  tags?: string[];
  'x-roles'?: string[];
  requestBody?: { content: Record<string, { schema: object; example?: unknown }> };
  responses: Record<string, { content?: Record<string, { schema?: object }> }>;
}

const root = path.join(__dirname, '..', '..', '..');
const pagePath = path.join(root, 'docs', 'api-access.md');
const [begin, end] = ['<!-- prettier-ignore-start -->', '<!-- prettier-ignore-end -->'];

/** The table of the page: routes by their groups, and who may use them. */
function accessTable(operations: readonly Operation[]): string {
  const shown = Object.keys(tags).flatMap((tag) => operations.filter((one) => one.tags?.[0] === tag && one['x-roles']));
  return [
    `| route | what it does | ${roles.join(' | ')} |`,
    `| --- | --- |${' --- |'.repeat(roles.length)}`,
    ...shown.map(({ name, summary, 'x-roles': allowed }) => {
      const marks = roles.map((role) => (allowed?.includes(role) ? 'yes' : '–'));
      return `| \`${name.replace(/^\w+/, (method) => method.toUpperCase())}\` | ${summary} | ${marks.join(' | ')} |`;
    }),
  ].join('\n');
}

/** Why runs and turns end, which is told of them and answers no request. */
const runsFailWith = new Set(['unpriced_usage', 'superseded', 'run_cancelled', 'turn_interrupted']);

/** Nothing of it is asked for while routes are only described. */
const described = createApp({ closing: new AbortController().signal } as ApiDependencies);

describe('in the OpenAPI document', () => {
  let operations: Operation[];
  let document: {
    paths: Record<string, Record<string, Operation>>;
    info: object;
    servers: object[];
    components: object;
  };
  beforeAll(async () => {
    document = (await (await described.request('/openapi.json')).json()) as typeof document;
    operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ ...operation, name: `${method} ${path}` })),
    );
    expect(operations.length).toBeGreaterThan(50);
  });

  test('XE12: every operation has an id of its own, a summary, and a tag that is described', () => {
    const ids = operations.map(({ operationId }) => operationId);
    expect(operations.filter(({ operationId }) => !/^[a-z]+([A-Z][a-z]*)*$/.test(operationId ?? ''))).toEqual([]);
    expect(ids.filter((id, at) => ids.indexOf(id) !== at)).toEqual([]);
    expect(operations.filter(({ summary = '' }) => !/^[A-Z].{5,70}[^.]$/.test(summary))).toEqual([]);
    expect(operations.filter((operation) => !(operation.tags?.length === 1 && operation.tags[0]! in tags))).toEqual([]);
    expect(Object.keys(tags).filter((tag) => !operations.some((operation) => operation.tags?.[0] === tag))).toEqual([]);
  });

  test('XE12: it says where it serves, of which version it is and under which licence, and every answer has a schema', () => {
    const { version, license } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      version: string;
      license: string;
    };
    expect(document.servers).toMatchObject([{ url: '/' }]);
    expect(document.info).toMatchObject({ version, license: { identifier: license } });
    const without = operations.filter(({ responses }) =>
      Object.values(responses).some(({ content = {} }) => Object.values(content)[0]?.schema === undefined),
    );
    expect(without).toEqual([]);
  });

  test('XE12: bodies of the routes that are used most have examples, each of which is one', () => {
    const ajv = new Ajv({ strict: false, validateFormats: false, logger: false });
    const shown = operations.flatMap(({ operationId, requestBody }) => {
      const { schema, example } = requestBody?.content['application/json'] ?? {};
      return example === undefined
        ? []
        : [{ operationId, schema: { ...schema, components: document.components }, example }];
    });
    expect(shown.length).toBeGreaterThanOrEqual(10);
    for (const { operationId, schema, example } of shown) {
      const errors = ajv.validate(schema, example) ? null : ajv.errors;
      expect({ operationId, errors }).toEqual({ operationId, errors: null });
    }
  });

  test('XE12: `npm run check` refuses a document that is not fit to generate from', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-document-'));
    const { operationId: _, ...nameless } = document.paths['/v1/runs']!.post!;
    const check = (broken: object): { status: number | null; stdout: string } => {
      const file = path.join(folder, 'openapi.json');
      writeFileSync(file, JSON.stringify({ ...document, ...broken }));
      const program = [path.join(root, 'scripts/run.cjs'), path.join(root, 'scripts/check-openapi.ts'), file];
      return spawnSync(process.execPath, program, { encoding: 'utf8' });
    };
    expect(check({})).toMatchObject({ status: 0, stdout: '' });
    const { status, stdout } = check({ servers: [], paths: { ...document.paths, '/v1/runs': { post: nameless } } });
    rmSync(folder, { recursive: true });
    expect(status).toBe(1);
    expect(stdout).toMatch(/no-empty-servers[^]*operation-operationId/);
  });

  test('what a route refuses with 409 or 422 is named by its codes, and every such code by a route', () => {
    const codesOf = ({ responses }: Operation): string[] =>
      ['409', '422'].flatMap((status) => {
        const schema = responses[status]?.content?.['application/json']?.schema as
          { properties: { error: { enum: string[] } } } | undefined;
        return schema?.properties.error.enum ?? [];
      });
    const commit = operations.find(({ operationId }) => operationId === 'commitReservation');
    expect(commit && codesOf(commit)).toContain('cost_unconfirmed');
    const named = new Set(operations.flatMap(codesOf));
    const own = Object.entries(errorCatalogue).filter(([, { httpStatus }]) => httpStatus === 409 || httpStatus === 422);
    expect(own.map(([code]) => code).filter((code) => !named.has(code) && !runsFailWith.has(code))).toEqual([]);
    expect([...runsFailWith].filter((code) => named.has(code))).toEqual([]);
  });

  test('every operation under /v1 says which roles may use it, administration among them', () => {
    const wrong = operations.filter(({ name, 'x-roles': allowed }) => {
      if (!name.includes(' /v1/')) return allowed !== undefined;
      return (
        !allowed?.includes('administration') || allowed.some((role) => !(roles as readonly string[]).includes(role))
      );
    });
    expect(wrong).toEqual([]);
  });

  test('who may do what is as docs/api-access.md says; SPENDLOCK_WRITE_ACCESS=true writes it', () => {
    const table = accessTable(operations);
    const page = readFileSync(pagePath, 'utf8');
    const asItIs = `${page.slice(0, page.indexOf(begin))}${begin}\n\n${table}\n\n${end}\n`;
    if (process.env.SPENDLOCK_WRITE_ACCESS === 'true') writeFileSync(pagePath, asItIs);
    expect(readFileSync(pagePath, 'utf8')).toBe(asItIs);
  });
});
