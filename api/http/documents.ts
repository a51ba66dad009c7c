/** The API's description, for the reference at /docs and for whoever generates a client. It is made once: anybody may ask, as often as they like. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { ApiEnv } from './request';
import { tags } from './openapi';

const about = `Agent runs that cannot overspend.

Every route under /v1 wants \`Authorization: Bearer KEY\`. What goes wrong is answered with a code, what happened, and what to do; a request that is
repeated under the same \`Idempotency-Key\` gets the first answer. Amounts are strings of US dollars, so that no digit is lost; times are of UTC.`;

const { version, license } = JSON.parse(readFileSync(path.join(__dirname, '../../package.json'), 'utf8')) as {
  version: string;
  license: string;
};

const description = {
  openapi: '3.1.0',
  info: { title: 'Spendlock', version, description: about, license: { name: license, identifier: license } },
  // Where the document was asked for, whatever stands before the API.
  servers: [{ url: '/', description: 'Where this document was found' }],
  tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
};

/** Serves what describes all the routes that `app` has by the first time that somebody asks. */
export function documents(app: OpenAPIHono<ApiEnv>): void {
  let made: string | undefined;
  app.get('/openapi.json', (c) => {
    made ??= JSON.stringify(app.getOpenAPI31Document(description));
    return c.body(made, 200, { 'content-type': 'application/json' });
  });
}
