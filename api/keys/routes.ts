/** The routes under /v1/keys: administration makes, lists, rotates and revokes the keys of tenants and its own. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { mergedLabels } from '../../core/labels';
import {
  givenRole,
  keyFrom,
  LastKeyError,
  listApiKeys,
  noteKeyChange,
  orderApiKey,
  readApiKey,
  revokeApiKey,
  rotateApiKey,
  type ApiKeyView,
} from '../../store/api-keys';
import { administrationAlone } from '../http/access';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import { bearerOf, type ApiContext, type ApiEnv } from '../http/request';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { keyIdSchema } from '../http/ids';
import { body, json, postRoute, route } from '../http/openapi';
import { pageOf, pageQuery, placeOf } from '../http/pages';
import { tenantQuery } from '../http/schemas';
import * as schemas from './schemas';

const show = (key: ApiKeyView): z.infer<typeof schemas.keyView> => ({
  ...key,
  createdAt: key.createdAt.toISOString(),
  revokedAt: key.revokedAt?.toISOString() ?? null,
});

const params = z.object({ id: keyIdSchema });

/** Of a new key of a tenant, where none is named. */
const defaultRole = 'agent';

type Room = (app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies) => void;

export const keyRoutes: Room = (app, dependencies) => {
  making(app, dependencies);
  ending(app, dependencies);
};

/** The tenant whose keys are meant; none means the administration's own. */
const tenantOf = async (
  c: ApiContext,
  dependencies: ApiDependencies,
  tenantId: string | undefined,
): Promise<string | undefined> => (tenantId === undefined ? undefined : tenantFor(c, dependencies, tenantId));

const making: Room = (app, dependencies) => {
  const { pool } = dependencies;
  app.openapi(
    route(
      { operationId: 'listKeys', summary: 'List keys', tag: 'Keys', access: administrationAlone },
      {
        method: 'get',
        path: '/v1/keys',
        request: { query: tenantQuery.extend(pageQuery) },
        responses: { 200: json(schemas.keysView, 'The newest first') },
      },
    ),
    async (c) => {
      const { tenantId: named, cursor, limit } = c.req.valid('query');
      const tenantId = await tenantOf(c, dependencies, named);
      const [afterKeyId] = placeOf(cursor, z.tuple([z.uuid()])) ?? [];
      const keys = await listApiKeys(pool, tenantId, { afterKeyId, limit: limit + 1 });
      const { rows, nextCursor } = pageOf(keys, { limit, place: ({ apiKeyId }) => [apiKeyId] });
      return c.json({ keys: rows.map(show), nextCursor }, 200);
    },
  );
  app.openapi(
    postRoute(
      { operationId: 'createKey', summary: 'Make a key', tag: 'Keys', access: administrationAlone },
      {
        path: '/v1/keys',
        request: { body: body(schemas.createKeyBody, { tenantId: 'acme', role: 'agent', label: 'nightly reports' }) },
        responses: { 201: json(schemas.newKeyView, 'The key. It is kept nowhere, and shown again to a repeat alone') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantOf(c, dependencies, asked.tenantId);
      const role = asked.role === 'administration' ? undefined : (asked.role ?? defaultRole);
      const order = {
        tenantId,
        by: operatorOf(c.get('caller'), asked.author),
        role,
        label: asked.label,
        labels: mergedLabels(asked.labels),
      };
      const nothing = () => Promise.resolve({ status: 201 as const, body: {} });
      return once(c, dependencies, asked, nothing, async (seed) => {
        const apiKey = keyFrom(bearerOf(c) ?? '', seed);
        return { ...(await orderApiKey(pool, { ...order, key: apiKey })), apiKey };
      });
    },
  );
};

const ending: Room = (app, dependencies) => {
  const { pool } = dependencies;
  app.openapi(
    postRoute(
      { operationId: 'rotateKey', summary: 'Replace a key by a new one', tag: 'Keys', access: administrationAlone },
      {
        path: '/v1/keys/{id}/rotate',
        request: { params, body: body(schemas.rotateKeyBody) },
        responses: {
          201: json(schemas.rotatedKeyView, 'A new key; the old one is taken for a while longer'),
        },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantOf(c, dependencies, asked.tenantId);
      const { id } = c.req.valid('param');
      const order = { tenantId, by: operatorOf(c.get('caller'), asked.author) };
      const keyOf = (seed: string): string => keyFrom(bearerOf(c) ?? '', seed);
      const rotate = async (seed: string) => {
        const { graceSeconds } = asked;
        const rotated = await rotateApiKey(pool, { ...order, key: keyOf(seed), old: id, graceSeconds });
        if (!rotated) {
          const message = `There is no key ${id} there that can be used; one that was revoked is not rotated, a new one is made instead. Nothing was changed.`;
          throw new ApiError('not_found', message);
        }
        return { status: 201 as const, body: { old: show(rotated.old) } };
      };
      // A repeat that comes with another key than the request before it is shown a key of its own.
      return once(c, dependencies, { id, ...asked }, rotate, async (seed) => {
        const apiKey = keyOf(seed);
        const old = await readApiKey(pool, { tenantId, apiKeyId: id });
        if (!old) throw new ApiError('not_found', `There is no key ${id} there any more. Nothing was changed.`);
        const { label, labels } = old;
        return {
          ...(await orderApiKey(pool, {
            ...order,
            role: givenRole(old),
            key: apiKey,
            label,
            labels: labels ?? undefined,
          })),
          apiKey,
        };
      });
    },
  );
  app.openapi(
    postRoute(
      {
        operationId: 'revokeKey',
        summary: 'Refuse a key from now on',
        tag: 'Keys',
        access: administrationAlone,
        refuses: ['last_key'],
      },
      {
        path: '/v1/keys/{id}/revoke',
        request: { params, body: body(schemas.revokeKeyBody) },
        responses: { 200: json(schemas.keyView, 'Refused from now on, everywhere') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantOf(c, dependencies, asked.tenantId);
      const { id } = c.req.valid('param');
      return once(c, dependencies, asked, async () => {
        const revoked = await revokeApiKey(pool, { tenantId, apiKeyId: id, evenLast: asked.confirm === id }).catch(
          (error: unknown) => {
            if (!(error instanceof LastKeyError)) throw error;
            const message = `${id} is the last key of the administration: without it nobody can steer this installation. Nothing was done.`;
            throw new ApiError('last_key', message);
          },
        );
        if (!revoked) throw new ApiError('not_found', `There is no key ${id} there. Nothing was changed.`);
        const by = operatorOf(c.get('caller'), asked.author);
        await noteKeyChange(pool, { tenantId, by, action: 'revoke_key', details: { apiKeyId: id } });
        return { status: 200, body: show(revoked) };
      });
    },
  );
};
