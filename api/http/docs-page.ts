/** The API's documentation as one page that loads nothing from elsewhere. */
import { createHash } from 'node:crypto';

interface OpenApiDocument {
  info: { title: string; description?: string | undefined };
  paths?: Record<string, unknown> | undefined;
}

const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const style = `
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}
h2{font:600 1.05rem ui-monospace,monospace;margin-top:2rem;border-top:1px solid #d8dee8;padding-top:1rem}
pre{background:#f3f5f9;padding:.75rem;overflow:auto;border-radius:6px;font-size:.85rem}
@media (prefers-color-scheme:dark){body{color:#e4e8f0;background:#14171d}pre{background:#1e232c}h2{border-color:#333b48}}
`;

/** The page runs nothing, and has this style alone. */
export const docsPolicy = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

export function docsPage({ info, paths = {} }: OpenApiDocument): string {
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item as Record<string, unknown>).map(([method, operation]) =>
      section(path, method, operation as Operation),
    ),
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escape(info.title)} API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>${style}</style></head><body>
<h1>${escape(info.title)} API</h1><p>${escape(info.description ?? '')} Send <code>Authorization: Bearer KEY</code>. The same as a document:
<a href="/openapi.json">/openapi.json</a>.</p>
${operations.join('\n')}
</body></html>`;
}

interface Operation {
  requestBody?: { content?: { 'application/json'?: { schema?: unknown } } };
  responses?: Record<string, { description?: string }>;
}

function section(path: string, method: string, { requestBody, responses = {} }: Operation): string {
  const schema = requestBody?.content?.['application/json']?.schema;
  const answers = Object.entries(responses).map(
    ([status, { description = '' }]) => `<li><code>${status}</code> ${escape(description)}</li>`,
  );
  return `<h2>${method.toUpperCase()} ${escape(path)}</h2>
${schema === undefined ? '' : `<p>Body:</p><pre>${escape(JSON.stringify(schema, null, 2))}</pre>`}<ul>${answers.join('')}</ul>`;
}
