/** How every failure is answered: what is wrong with a request, a denial, and what nobody foresaw. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { HTTPException } from 'hono/http-exception';
import { KeyEndedError, type KeyOwner } from '../../store/api-keys';
import { isDatabaseAway, passesColumn } from '../../store/pool';
import { TooManyResourcesError } from '../../store/resources';
import type { Logger } from '../../telemetry/log';
import { RepeatedFailures } from '../../telemetry/repeated-failures';
import { cutRequest } from './bodies';
import { denialEvents, Denied, deniedAnswer, hopelessSeconds } from './denials';
import { ApiError, errorBody } from './errors';
import type { ApiEnv } from './request';

type App = OpenAPIHono<ApiEnv>;

/** @throws ApiError that says what is wrong with a request, and where. */
export const refuseUnfit: NonNullable<App['defaultHook']> = (result) => {
  if (result.success) return;
  const problems = result.error.issues.map((issue) => `${issue.path.join('.') || 'the request'}: ${issue.message}`);
  const onlyAmounts = result.error.issues.every(
    (issue) => issue.code === 'custom' && issue.params?.code === 'invalid_amount',
  );
  throw new ApiError(
    onlyAmounts ? 'invalid_amount' : 'invalid_request',
    `${problems.map((problem) => problem.replace(/[.]$/, '')).join('; ')}. Nothing was done.`,
  );
};

/** What zod says of a field that there is not: also which there are, since most of them are typing errors. */
export const nameTheFields: z.core.$ZodErrorMap = (issue) => {
  if (issue.code !== 'unrecognized_keys' || !(issue.inst instanceof z.ZodObject)) return undefined;
  const unknown = issue.keys.map((key) => JSON.stringify(key)).join(', ');
  const known = Object.keys(issue.inst.shape).join(', ');
  return `has no field ${unknown}; it takes ${known === '' ? 'none' : known}`;
};

/** Answers what the routes of `app` throw, and what has no route. */
export function answerFailures(app: App, log: Logger): void {
  const failureLog = new RepeatedFailures(log, 'a request failed');
  app.onError((error, c) => {
    const requestId = c.get('requestId');
    if (error instanceof Denied) {
      const body = deniedAnswer(error.body, requestId);
      c.header('retry-after', String(body.retryAfter ?? hopelessSeconds));
      if (!c.req.header('accept')?.includes('text/event-stream')) return c.json(body, 429);
      return c.body(denialEvents(body), 429, { 'content-type': 'text/event-stream' });
    }
    const known = cutRequest(c) ?? knownError(error);
    if (known !== error && known.status >= 500) {
      const tenantId = (c.get('caller') as KeyOwner | undefined)?.tenantId;
      failureLog.add(error, { requestId, tenantId, path: c.req.path, error });
    }
    const { retryAfter } = known.more;
    if (typeof retryAfter === 'number') c.header('retry-after', String(retryAfter));
    return c.json(errorBody(known, requestId), known.status as 400);
  });
  app.notFound((c) =>
    c.json(
      errorBody(new ApiError('not_found', `There is nothing to ${c.req.method} at ${c.req.path}.`), c.get('requestId')),
      404,
    ),
  );
}

/** What a caller may know of an error that nobody foresaw. */
function knownError(error: Error): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof KeyEndedError) return new ApiError('unauthorized', 'The API key was revoked. Nothing was done.');
  // What the validators refuse by themselves.
  if (error instanceof HTTPException && error.status === 415)
    return new ApiError('unsupported_media_type', 'The Content-Type is not one of JSON. Nothing was done.');
  if (error instanceof HTTPException && error.status < 500)
    return new ApiError('invalid_request', `${error.message || 'The request cannot be read'}. Nothing was done.`);
  if (error instanceof TooManyResourcesError)
    return new ApiError('invalid_request', `${error.message} Nothing was changed.`, {
      action: 'Remove limits and defaults of resources that are used no more, or limit them by all.',
    });
  // A sum, or a moment, that passes what its column can hold.
  if (passesColumn(error))
    return new ApiError('invalid_request', 'A number or a moment is outside of what can be kept. Nothing was done.');
  return isDatabaseAway(error)
    ? new ApiError(
        'unavailable',
        'Postgres could not do it at the moment. What the request had stored by then is kept.',
      )
    : new ApiError('internal', 'The request failed. What it had stored by then is kept.');
}
