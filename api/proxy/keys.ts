/** The key that a client sends, where its SDK puts it; and who it speaks for. */
import type { IncomingHttpHeaders } from 'node:http';
import { isUuid, tenantIdPattern, inOneSpelling } from '../../core/ids';
import type { Labels } from '../../core/labels';
import { omitUndefined } from '../../core/omit-undefined';
import type { KeyOwner } from '../../store/api-keys';
import { isKeyShaped } from '../../store/api-keys';
import { whoSpends } from '../http/access';
import type { Callers } from '../http/callers';
import { ApiError } from '../http/errors';
import { userIdSchema } from '../http/ids';
import type { Tenants } from '../http/lookups';
import { bearerIn } from '../http/request';
import { labelsIn } from './labels';

type Headers = Record<string, string | string[] | undefined>;

const one = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value);

/** Of a client that sends two, the one that is ours: some send a key and a token. */
export function keyOf(headers: Headers, name: string): string | undefined {
  const own = one(headers[name]);
  const bearer = bearerIn(one(headers.authorization));
  return own !== undefined && (isKeyShaped(own) || bearer === undefined) ? own : bearer;
}

/** Of a client that sends a bearer token. */
export const bearerOnly = (headers: Headers): string | undefined => bearerIn(one(headers.authorization));

/** Who pays, and what for: from the key, and from headers beside it. */
export interface ProxyCaller extends KeyOwner {
  tenantId: string;
  userId?: string | undefined;
  runId?: string | undefined;
  /** What its request says that the call is for; over those of the key, which are `labels`. */
  sentLabels?: Labels | undefined;
}

/** @throws ApiError `unauthorized`, `forbidden`, `unknown_tenant` or `invalid_request`. */
export async function callerOf(
  key: string | undefined,
  headers: IncomingHttpHeaders,
  { callers, tenants }: { callers: Pick<Callers, 'of'>; tenants: Pick<Tenants, 'of'> },
): Promise<ProxyCaller> {
  if (key === undefined || key === '')
    throw new ApiError('unauthorized', 'No API key came with the request. Nothing was done.', { action });
  if (!isKeyShaped(key))
    throw new ApiError('unauthorized', 'The key is none of Spendlock, such as a provider’s. Nothing was done.', {
      action,
    });
  const caller = await callers.of(key);
  if (!caller) throw new ApiError('unauthorized', 'The API key is not known. Nothing was done.', { action });
  if (!(whoSpends as readonly string[]).includes(caller.role))
    throw new ApiError(
      'forbidden',
      `A call of a model needs a key of the role agent; this key has the role ${caller.role}. Nothing was done.`,
    );
  const tenantId = await tenantOf(caller, one(headers['x-spendlock-tenant']), tenants);
  return { ...caller, tenantId, ...payerOf(headers) };
}

const action =
  'Send an API key of Spendlock, with the role agent, where the provider’s key would be: the provider’s own is kept by Spendlock.';

async function tenantOf(
  { tenantId: own }: KeyOwner,
  named: string | undefined,
  tenants: Pick<Tenants, 'of'>,
): Promise<string> {
  if (own !== undefined) {
    if (named === undefined || named === own) return own;
    throw new ApiError('forbidden', 'This key is for another tenant than x-spendlock-tenant names. Nothing was done.');
  }
  if (named === undefined)
    throw new ApiError(
      'invalid_request',
      'x-spendlock-tenant: an administration key has to name the tenant. Nothing was done.',
    );
  if (!tenantIdPattern.test(named) || !(await tenants.of(named)))
    throw new ApiError('unknown_tenant', 'There is no tenant as x-spendlock-tenant names. Nothing was done.');
  return named;
}

/** Headers come as bytes, which Node hands on one by one: what is beyond ASCII is in UTF-8. */
function saidIn(headers: IncomingHttpHeaders, name: string): string | undefined {
  const said = one(headers[name]);
  return said === undefined ? undefined : Buffer.from(said, 'latin1').toString('utf8');
}

function payerOf(headers: IncomingHttpHeaders): Pick<ProxyCaller, 'userId' | 'runId' | 'sentLabels'> {
  const run = one(headers['x-spendlock-run']);
  const userId = saidIn(headers, 'x-spendlock-user');
  if (userId !== undefined && !userIdSchema.safeParse(userId).success)
    throw new ApiError('invalid_request', 'x-spendlock-user: is no user id. Nothing was done.');
  const runId = run === undefined ? undefined : inOneSpelling(run);
  if (runId !== undefined && !isUuid(runId))
    throw new ApiError('invalid_request', 'x-spendlock-run: must be a UUID. Nothing was done.');
  return omitUndefined({ userId, runId, sentLabels: labelsIn(saidIn(headers, 'x-spendlock-labels') ?? '') });
}
