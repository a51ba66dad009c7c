/** What the API's description promises of all its routes: one way each to page, to name the tenant, and to fail. */
import { createApp } from '../../../api/app';
import type { ApiDependencies } from '../../../api/http/context';

interface Parameter {
  name: string;
  in: string;
  deprecated?: boolean;
}
interface Operation {
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
}
interface Schema {
  $ref?: string;
  type?: string;
  properties?: Record<string, Schema>;
}
interface Description {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

/** The routes are made without anything that they would need to answer. */
async function describeApi(): Promise<Description> {
  const unused = { log: { error: () => undefined }, closing: new AbortController().signal };
  const response = await createApp(unused as unknown as ApiDependencies).request('/openapi.json');
  return (await response.json()) as Description;
}

describe('the description of the API', () => {
  let description: Description;
  let operations: { name: string; path: string; method: string; operation: Operation }[];
  beforeAll(async () => {
    description = await describeApi();
    operations = Object.entries(description.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        name: `${method.toUpperCase()} ${path}`,
        path,
        method,
        operation,
      })),
    );
  });
  const resolved = (schema: Schema | undefined): Schema =>
    schema?.$ref === undefined
      ? (schema ?? {})
      : resolved(description.components.schemas[schema.$ref.split('/').at(-1) ?? '']);
  const parameters = ({ operation }: { operation: Operation }): string[] =>
    (operation.parameters ?? []).flatMap(({ name, in: where, deprecated }) =>
      where === 'query' && !deprecated ? [name] : [],
    );
  const answer = ({ operation }: { operation: Operation }): Record<string, Schema> =>
    resolved(operation.responses['200']?.content?.['application/json']?.schema).properties ?? {};

  /** They have arrays, and are whole: bounded in number, each for the reason that is given. */
  const whole = [
    // Of the tenant, and of 500 users' at most; `userId` asks for one more.
    'GET /v1/tenants/{id}/quotas',
    // One for each resource and period.
    'GET /v1/platform/quotas',
    'GET /v1/tenants/{id}/label-defaults',
    'GET /v1/tenants/{id}/user-defaults',
    // How a tenant stands, on one screen.
    'GET /v1/tenants/{id}/overview',
    // The dearest 1,000 groups, with how many more there are; csv has all.
    'GET /v1/usage',
    // What operators entered, by hand.
    'GET /v1/prices',
    // Reasons, of which there are eight.
    'GET /v1/tenants/{id}/mandate',
    // Of one tenant's quotas.
    'GET /v1/tenants/{id}/books',
    // A hundred at most, each with the names of what it shows.
    'GET /v1/tools',
    // One run with its steps, which `maxSteps` bounds.
    'GET /v1/runs/{id}',
  ];

  test('XE13: every list is paged in the same way', () => {
    const lists = operations.filter(
      (one) => one.method === 'get' && Object.values(answer(one)).some((field) => resolved(field).type === 'array'),
    );
    const paged = lists.filter(({ name }) => !whole.includes(name));
    expect(paged.length).toBeGreaterThanOrEqual(8);
    for (const list of paged) {
      expect([list.name, parameters(list)]).toEqual([list.name, expect.arrayContaining(['cursor', 'limit'])]);
      expect([list.name, Object.keys(answer(list))]).toEqual([list.name, expect.arrayContaining(['nextCursor'])]);
    }
    const other = ['after', 'offset', 'page', 'turnsAfter', 'next'];
    for (const one of operations) {
      expect([one.name, parameters(one).filter((name) => other.includes(name))]).toEqual([one.name, []]);
      expect([one.name, Object.keys(answer(one)).filter((name) => other.includes(name))]).toEqual([one.name, []]);
    }
  });

  test('XE13: the tenant is in the path where it is what is asked for, else in the body, or in the query where there is none', () => {
    for (const one of operations) {
      const { path, method, operation } = one;
      const inBody = Object.keys(
        resolved(operation.requestBody?.content['application/json']?.schema).properties ?? {},
      ).includes('tenantId');
      const inQuery = parameters(one).includes('tenantId');
      expect([one.name, inQuery && (method !== 'get' || path.startsWith('/v1/tenants'))]).toEqual([one.name, false]);
      expect([one.name, inBody && path.startsWith('/v1/tenants/')]).toEqual([one.name, false]);
    }
  });

  test('XE13: an error says what to do and of which request it is, wherever one may come', () => {
    const failing = operations.filter(({ path }) => path.startsWith('/v1/'));
    for (const { name, operation } of failing) {
      const schema = resolved(operation.responses.default?.content?.['application/json']?.schema) as Schema & {
        required?: string[];
      };
      expect([name, schema.required]).toEqual([
        name,
        expect.arrayContaining(['error', 'message', 'action', 'requestId']),
      ]);
    }
  });
});
