/** A provider's address that leads elsewhere: a proxy with a page to sign in, a name that has moved. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe('a provider that redirects', () => {
  let stack: TestStack;
  const seen: Record<'redirected' | 'elsewhere', string[]> = { redirected: [], elsewhere: [] };
  const environment: Record<string, string> = {};
  const servers: Server[] = [];
  /** 307 asks for the whole request again, the prompt in it. */
  let status = 307;

  async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
    const server = createServer((request, response) => request.resume().on('end', () => answer(request, response)));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1' }, resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  beforeAll(async () => {
    const elsewhere = await serve((request, response) => {
      seen.elsewhere.push(
        request.headers['x-api-key']?.toString() ?? request.headers['x-goog-api-key']?.toString() ?? '',
      );
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Sign in</html>');
    });
    const url = await serve((request, response) => {
      const counts = /count|input_tokens/i.test(request.url ?? '');
      if (counts) {
        const counted = { input_tokens: 10, totalTokens: 10, object: 'response.input_tokens' };
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(counted));
        return;
      }
      seen.redirected.push(request.url ?? '');
      response.writeHead(status, { location: `${elsewhere}/` }).end();
    });
    for (const name of ['ANTHROPIC_BASE_URL', 'OPENAI_BASE_URL', 'GEMINI_BASE_URL']) environment[name] = url;
  });
  afterAll(() => {
    for (const server of servers) server.close().closeAllConnections();
  });
  withInstallation((made) => ({ stack } = made), { environment });
  beforeEach(() => {
    seen.redirected = [];
    seen.elsewhere = [];
  });

  test.each([
    ['claude-haiku-4-5', 307],
    ['claude-haiku-4-5', 302],
    ['gpt-4o', 307],
    ['gemini-2.5-flash', 307],
  ])(
    '%s answers %d: nobody else is sent prompt or key, nothing is charged, and the failure says so',
    async (model, code) => {
      status = code;
      const tenantId = await stack.tenant('5');
      const started = await stack.start({ tenantId, model });
      await until('it was asked', () => seen.redirected.length > 0);
      const run = await stack.finish({ tenantId, ...started });
      expect(seen.elsewhere).toEqual([]);
      expect(run).toMatchObject({ status: 'failed', costUsd: '0', failure: { code: 'provider_unavailable' } });
      expect(String(run.failure?.message)).toMatch(/leads elsewhere/);
      // One request for each attempt.
      expect(seen.redirected).toHaveLength(4);
      expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0', reservedUsd: '0', openReservations: 0 });
    },
  );
});
