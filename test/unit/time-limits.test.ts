/** Everything that waits for somebody else has an end: what makes a connection, a request or a stream says which. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import list from '../../scripts/folders.json';
import { endlessWaits } from '../support/endless-waits';
import { sourcesOf } from '../support/import-graph';

const root = path.join(__dirname, '..', '..');
const page = readFileSync(path.join(root, 'docs', 'reliability.md'), 'utf8');
/** What an installation runs, and the scripts that people run. */
const waiting = list.product.filter(({ name }) => name !== 'core' && name !== 'contracts').map(({ name }) => name);
const folders = [...waiting, 'scripts/start', 'scripts/embedded', 'examples'];
const alone = sourcesOf('scripts').filter((file) => file.split('/').length === 2);

describe('time limits', () => {
  test('no wait of the product is without one', () => {
    const files = [...folders.flatMap(sourcesOf), ...alone];
    expect(files.length).toBeGreaterThan(150);
    // These examples have no connection of their own to look after: Temporal's defaults do.
    const connected = ['examples/paid-api/worker.ts', 'examples/temporal-agent/main.ts'];
    const product = files.filter((file) => !connected.includes(file));
    expect(product.flatMap((file) => endlessWaits(file, readFileSync(path.join(root, file), 'utf8')))).toEqual([]);
  });

  test.each([
    ['a request', `await fetch(url, { method: 'POST' });`],
    ['a request without options', `await fetch(url);`],
    ['a request of Node', `import http from 'node:http'; http.get(url, done);`],
    ['a socket', `import { connect } from 'node:net'; connect({ port: 1 });`],
    ['a pool', `import { Pool } from 'pg'; const pool = new Pool({ max: 1 });`],
    ['a pool of the whole module', `import pg from 'pg'; const pool = new pg.Pool({ max: 1 });`],
    ['a connection', `import { Client } from 'pg'; const client = new Client(url);`],
    ['an SDK', `const client = new Anthropic({ maxRetries: 0 });`],
    ['a count', `await client.messages.countTokens({ model });`],
    ['a sandbox', `await Sandbox.kill(sandboxId, { apiKey });`],
    ['Temporal', `import { Connection } from '@temporalio/client'; await Connection.connect({ address });`],
    ['a server', `import { serve } from '@hono/node-server'; serve({ fetch: app.fetch, port });`],
    ['a timeout that is collected', `const signal = AbortSignal.any([mine, AbortSignal.timeout(1)]);`],
    ['a stream', `new ReadableStream({ pull: (to) => to.enqueue(next()) });`],
  ])('%s without one is told', (_what, source) => {
    expect(endlessWaits('api/any.ts', source)).toHaveLength(1);
  });

  test('what has one is not told', () => {
    const source = `import { Client } from '@temporalio/client'; import { request } from './http';
      new Client({ connection }); request(url); await fetch(url, { signal: AbortSignal.timeout(1) });`;
    expect(endlessWaits('api/any.ts', source)).toEqual([]);
  });

  test('the places that the table of docs/reliability.md names have what it names', () => {
    const table = page.slice(page.indexOf('## Time limits'), page.indexOf('## Faults that were found'));
    const named = [...table.matchAll(/`([\w./-]+\.ts)`, `(\w+)`/g)];
    expect(named.length).toBeGreaterThan(45);
    const missing = named.filter(
      ([, file = '', name = '']) => !new RegExp(`\\b${name}\\b`).test(readFileSync(path.join(root, file), 'utf8')),
    );
    expect(missing.map(([place]) => place)).toEqual([]);
  });
});
