/** The API's own document of its operations, without a server: nothing is asked of what it depends on. */
import { createApp } from '../../api/app';
import type { ApiDependencies } from '../../api/http/context';

export interface Described {
  /** Such as `GET /v1/runs/{id}`. */
  name: string;
  operationId: string;
  parameters?: { in: string; name: string }[];
  responses: Record<string, { content?: Record<string, unknown> } | undefined>;
  requestBody?: { content: { 'application/json': { schema: { properties?: Record<string, object> } } } };
}

/** Every operation that needs a key. */
export async function describedOperations(): Promise<Described[]> {
  const app = createApp({ closing: new AbortController().signal } as ApiDependencies);
  const { paths } = (await (await app.request('/openapi.json')).json()) as {
    paths: Record<string, Record<string, Omit<Described, 'name'>>>;
  };
  return Object.entries(paths)
    .filter(([path]) => path.startsWith('/v1/'))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        ...operation,
        name: `${method.toUpperCase()} ${path}`,
      })),
    );
}

/** The one that a request is for. */
export const operationOf = (
  operations: readonly Described[],
  { method, path }: { method: string; path: string },
): Described | undefined =>
  operations
    .filter(({ name }) => {
      const [verb, template = ''] = name.split(' ');
      return verb === method && new RegExp(`^${template.replace(/[{]\w+[}]/g, '[^/]+')}$`).test(path);
    })
    // A word that is written out goes before a place for any.
    .sort((a, b) => a.name.split('{').length - b.name.split('{').length)[0];
