/**
 * The pages for people, the dashboard and the reference of the API, and their files. They are bundled from dashboard/ when one is first asked for, and kept: there is
 * no built copy that could be older than its source. They may load nothing from anywhere else.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { ApiEnv } from './http/request';

const folder = path.join(__dirname, '..', 'dashboard');

const contentSecurityPolicy = (styles: string): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    styles,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');

const policy = contentSecurityPolicy("style-src 'self'");
/** The viewer writes its colours as styles into the page. Its scripts are files all the same. */
const referencePolicy = contentSecurityPolicy("style-src 'self' 'unsafe-inline'");

interface PageFile {
  text: string;
  type: string;
  etag: string;
}

export function dashboard(app: OpenAPIHono<ApiEnv>): void {
  let files: Promise<Map<string, PageFile>> | undefined;
  const serve = (name: string, address: string, itsPolicy = policy): void => {
    app.get(address, async (c) => {
      files ??= bundle();
      const file = (
        await files.catch((error: unknown) => {
          files = undefined;
          throw error;
        })
      ).get(name);
      if (!file) return c.notFound();
      c.header('content-security-policy', itsPolicy);
      c.header('cache-control', 'no-cache');
      c.header('etag', file.etag);
      if (c.req.header('if-none-match') === file.etag) return c.body(null, 304);
      return c.body(file.text, 200, { 'content-type': file.type });
    });
  };
  serve('index.html', '/');
  serve('main.js', '/dashboard/main.js');
  serve('main.css', '/dashboard/main.css');
  serve('reference.html', '/docs', referencePolicy);
  serve('reference.js', '/docs/reference.js');
  serve('reference.css', '/docs/reference.css');
}

async function bundle(): Promise<Map<string, PageFile>> {
  const { outputFiles } = await build({
    entryPoints: { main: path.join(folder, 'main.tsx'), reference: path.join(folder, 'reference.ts') },
    bundle: true,
    minify: true,
    write: false,
    outdir: folder,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    logLevel: 'silent',
    legalComments: 'none',
  });
  const types: Record<string, string> = { '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8' };
  const fileOf = (text: string, type: string): PageFile => ({
    text,
    type,
    etag: `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`,
  });
  const pages = ['index.html', 'reference.html'].map(async (name): Promise<[string, PageFile]> => [
    name,
    fileOf(await readFile(path.join(folder, name), 'utf8'), 'text/html; charset=utf-8'),
  ]);
  return new Map([
    ...(await Promise.all(pages)),
    ...outputFiles.map(({ path: file, text }): [string, PageFile] => [
      path.basename(file),
      fileOf(text, types[path.extname(file)] ?? 'application/octet-stream'),
    ]),
  ]);
}
