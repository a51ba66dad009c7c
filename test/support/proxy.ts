/** What tests of the wire proxy share: requests as bytes, and the books once nothing is under way. */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { until, type TestStack } from './stack';

export const proxyModel = 'claude-haiku-4-5';

export interface BytesAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** Its connection broke before it had come whole. */
  isCut: boolean;
  json(): Record<string, unknown> & { error: { type: string; message: string }; spendlock: Record<string, unknown> };
}

/** Sends a request to the proxy, and reads its answer byte by byte. */
export function sendBytes(
  url: string,
  {
    method = 'POST',
    headers = {},
    body,
    onPart,
  }: { method?: string; headers?: Record<string, string>; body?: string | Buffer; onPart?: (all: Buffer) => void },
): Promise<BytesAnswer> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest(url, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      timeout: 60_000,
    });
    asked.on('error', reject);
    asked.on('response', (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => {
        parts.push(part);
        onPart?.(Buffer.concat(parts));
      });
      answer.on('error', () => undefined);
      answer.on('close', () => {
        const whole = Buffer.concat(parts);
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: whole,
          isCut: !answer.complete,
          json: () => JSON.parse(whole.toString()) as ReturnType<BytesAnswer['json']>,
        });
      });
    });
    asked.end(body);
  });
}

/** Writes to a socket by hand, and answers all that came until its end. */
export function talk(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), timeout: 30_000 }, () => socket.write(text));
    let came = '';
    socket.on('data', (part) => (came += part.toString()));
    socket.on('error', reject);
    socket.on('timeout', () => socket.destroy(new Error(`It did not end. It said:\n${came}`)));
    socket.on('close', () => resolve(came));
  });
}

/** The books of a tenant, once each of its calls has ended. */
export async function settledBooks(stack: TestStack, tenantId: string): ReturnType<TestStack['books']> {
  return until(
    `all calls of ${tenantId} are settled`,
    async () => {
      const books = await stack.books(tenantId);
      return books.openReservations === 0 && books.reservedUsd === '0' && books;
    },
    60_000,
  );
}

/** How a tenant's calls ended, in their order. */
export async function settlementsOf(stack: TestStack, tenantId: string): Promise<(string | null)[]> {
  await settledBooks(stack, tenantId);
  const { rows } = await stack.admin.query<{ settlement: string | null }>(
    'SELECT settlement FROM copilot_internal.reservations WHERE tenant_id = $1 ORDER BY decided_at',
    [tenantId],
  );
  return rows.map(({ settlement }) => settlement);
}
