/** The API's description, as a document and as a page. Both are made once: anybody may ask for them, as often as they like. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { ApiEnv } from './request';
import { tags } from './openapi';
import { docsPage, docsPolicy } from './docs-page';

const description = {
  openapi: '3.1.0',
  info: { title: 'Spendlock', version: '1', description: 'Agent runs that cannot overspend.' },
  tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
};

/** Serves what describes all the routes that `app` has by the first time that somebody asks. */
export function documents(app: OpenAPIHono<ApiEnv>): void {
  let made: { json: string; html: string } | undefined;
  const make = (): { json: string; html: string } => {
    const document = app.getOpenAPI31Document(description);
    return { json: JSON.stringify(document), html: docsPage(document) };
  };
  app.get('/openapi.json', (c) => c.body((made ??= make()).json, 200, { 'content-type': 'application/json' }));
  app.get('/docs', (c) => {
    c.header('content-security-policy', docsPolicy);
    return c.html((made ??= make()).html);
  });
}
