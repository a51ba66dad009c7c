/** The API on a port of its own, with keys. What it answers has to be what it says of itself. */
import { createSpendlockClient, type SpendlockClient } from '../../client';
import { startApi, type RunningApi, type ServeOptions } from '../../api/server';
import type { TenantRole } from '../../core/roles';
import { createApiKey } from '../../store/api-keys';
import { watchAnswers } from './answers';
import type { TestStack } from './stack';

export interface RequestOptions {
  method?: string;
  key?: string;
  body?: unknown;
  headers?: Record<string, string>;
}

/** An answer whose body is a JSON object. */
export interface Answer {
  status: number;
  body: Record<string, unknown>;
}

export interface TestApi extends RunningApi {
  adminKey: string;
  admin: SpendlockClient;
  /** Without a role: one from before there were any. */
  keyOf(tenantId: string, role?: TenantRole): Promise<string>;
  clientOf(tenantId: string): Promise<SpendlockClient>;
  /** A plain request, for what the typed client would not send. */
  request(path: string, options?: RequestOptions): Promise<Response>;
  /** The same, and its answer read. */
  call(method: string, path: string, options?: RequestOptions): Promise<Answer>;
}

export async function startTestApi(stack: TestStack, more: Partial<ServeOptions> = {}): Promise<TestApi> {
  const api = await startApi({ ...stack.api, host: '127.0.0.1', port: 0, ...more });
  const answers = watchAnswers(api.url);
  stack.complaints.push(() => answers.misfits().map((misfit) => `An answer does not fit its description. ${misfit}`));
  const { key: adminKey } = await createApiKey(stack.pool, { label: 'test' });
  const keyOf = async (tenantId: string, role?: TenantRole): Promise<string> =>
    (await createApiKey(stack.pool, { tenantId, role })).key;
  const request: TestApi['request'] = (path, { method = 'GET', key = adminKey, body, headers = {} } = {}) =>
    fetch(`${api.url}${path}`, {
      method,
      headers: {
        ...(key === '' ? {} : { authorization: `Bearer ${key}` }),
        'content-type': 'application/json',
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  return {
    ...api,
    async close() {
      answers.stop();
      await api.close();
    },
    adminKey,
    admin: createSpendlockClient({ baseUrl: api.url, apiKey: adminKey }),
    keyOf,
    clientOf: async (tenantId) => createSpendlockClient({ baseUrl: api.url, apiKey: await keyOf(tenantId) }),
    request,
    async call(method, path, options = {}) {
      const response = await request(path, { ...options, method });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    },
  };
}
