/** The OpenAPI document as one reads it and generates clients from it: every operation is named, and says who may use it. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createApp } from '../../../api/app';
import type { ApiDependencies } from '../../../api/http/context';
import { tags } from '../../../api/http/openapi';
import { roles } from '../../../core/roles';

interface Operation {
  name: string;
  operationId?: string;
  summary?: string;
  tags?: string[];
  'x-roles'?: string[];
}

const pagePath = path.join(__dirname, '..', '..', '..', 'docs', 'api-access.md');
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

/** Nothing of it is asked for while routes are only described. */
const described = createApp({ closing: new AbortController().signal } as ApiDependencies);

describe('in the OpenAPI document', () => {
  let operations: Operation[];
  beforeAll(async () => {
    const document = (await (await described.request('/openapi.json')).json()) as {
      paths: Record<string, Record<string, Operation>>;
    };
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
