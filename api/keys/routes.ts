/** The routes under /v1/keys: administration makes, lists, rotates and revokes the keys of tenants and its own. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import {
  keyFrom,
  listApiKeys,
  noteKeyChange,
  orderApiKey,
  revokeApiKey,
  rotateApiKey,
  type ApiKeyView,
} from '../../store/api-keys';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import { bearerOf, requireAdministration, type ApiContext, type ApiEnv } from '../http/request';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { keyIdSchema } from '../http/ids';
import { body, failures, idempotencyHeader, json, security } from '../http/openapi';
import * as schemas from '../http/schemas';

const show = (key: ApiKeyView): z.infer<typeof schemas.keyView> => ({
  ...key,
  createdAt: key.createdAt.toISOString(),
  revokedAt: key.revokedAt?.toISOString() ?? null,
});

const params = z.object({ id: keyIdSchema });
const newKey = z.object({ apiKeyId: z.string(), apiKey: z.string().openapi({ description: 'Shown only now.' }) });

export function keyRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  /** The tenant whose keys are meant; none means the administration's own. */
  const ownerOf = async (c: ApiContext, tenantId: string | undefined): Promise<string | undefined> => {
    requireAdministration(c);
    return tenantId === undefined ? undefined : tenantFor(c, dependencies, tenantId);
  };
  const note = (c: ApiContext, action: string, tenantId: string | undefined, details: object, author?: string) =>
    noteKeyChange(pool, { tenantId, by: operatorOf(c.get('caller'), author), action, details });

  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/keys',
      security,
      request: { query: z.object({ tenantId: schemas.tenantIdSchema.optional() }) },
      responses: { 200: json(z.object({ keys: z.array(schemas.keyView) }), 'The newest first'), ...failures },
    }),
    async (c) => {
      const tenantId = await ownerOf(c as ApiContext, c.req.valid('query').tenantId);
      return c.json({ keys: (await listApiKeys(pool, tenantId)).map(show) }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/keys',
      security,
      request: { headers: idempotencyHeader, body: body(schemas.createKeyBody) },
      responses: { 201: json(newKey, 'The key. It is kept nowhere, and shown again to a repeat alone'), ...failures },
    }),
    async (c) => {
      const asked = c.req.valid('json') as z.output<typeof schemas.createKeyBody>;
      const context = c as ApiContext;
      const tenantId = await ownerOf(context, asked.tenantId);
      const order = { tenantId, by: operatorOf(c.get('caller'), asked.author), label: asked.label };
      const nothing = () => Promise.resolve({ status: 201 as const, body: {} });
      return (await once(context, dependencies, asked, nothing, async (seed) => {
        const apiKey = keyFrom(bearerOf(context) ?? '', seed);
        return { apiKeyId: await orderApiKey(pool, { ...order, key: apiKey }), apiKey };
      })) as never;
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/keys/{id}/rotate',
      security,
      request: { params, headers: idempotencyHeader, body: body(schemas.rotateKeyBody) },
      responses: {
        201: json(newKey.extend({ old: schemas.keyView }), 'A new key; the old one is taken for a while longer'),
        ...failures,
      },
    }),
    async (c) => {
      const asked = c.req.valid('json') as z.output<typeof schemas.rotateKeyBody>;
      const context = c as ApiContext;
      const tenantId = await ownerOf(context, asked.tenantId);
      const { id } = c.req.valid('param');
      const order = { tenantId, by: operatorOf(c.get('caller'), asked.author) };
      const keyOf = (seed: string): string => keyFrom(bearerOf(context) ?? '', seed);
      let label = 'made again for a repeat';
      const rotate = async (seed: string) => {
        const { graceSeconds } = asked;
        const rotated = await rotateApiKey(pool, { ...order, key: keyOf(seed), old: id, graceSeconds });
        if (!rotated) throw new ApiError('not_found', `There is no key ${id} there. Nothing was changed.`);
        label = rotated.old.label;
        return { status: 201 as const, body: { old: show(rotated.old) } };
      };
      // A repeat that comes with another key than the request before it is shown a key of its own.
      return (await once(context, dependencies, { id, ...asked }, rotate, async (seed) => {
        const apiKey = keyOf(seed);
        return { apiKeyId: await orderApiKey(pool, { ...order, key: apiKey, label }), apiKey };
      })) as never;
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/keys/{id}/revoke',
      security,
      request: { params, headers: idempotencyHeader, body: body(schemas.revokeKeyBody) },
      responses: { 200: json(schemas.keyView, 'Refused from now on, everywhere'), ...failures },
    }),
    async (c) => {
      const asked = c.req.valid('json') as z.output<typeof schemas.revokeKeyBody>;
      const tenantId = await ownerOf(c as ApiContext, asked.tenantId);
      const { id } = c.req.valid('param');
      return (await once(c as ApiContext, dependencies, asked, async () => {
        const revoked = await revokeApiKey(pool, { tenantId, apiKeyId: id });
        if (!revoked) throw new ApiError('not_found', `There is no key ${id} there. Nothing was changed.`);
        await note(c as ApiContext, 'revoke_key', tenantId, { apiKeyId: id }, asked.author);
        return { status: 200, body: show(revoked) };
      })) as never;
    },
  );
}
