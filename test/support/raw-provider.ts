/** A provider whose every byte a test writes itself: what it was asked, and an answer that is written by hand. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface AskedOfProvider {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

export interface RawProvider {
  url: string;
  asked: AskedOfProvider[];
  /** How the next requests are answered; the last one stays. */
  answerWith(...answers: ((response: ServerResponse) => unknown)[]): void;
  close(): Promise<void>;
}

export async function rawProvider(): Promise<RawProvider> {
  const asked: AskedOfProvider[] = [];
  let answers: ((response: ServerResponse) => unknown)[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      asked.push({ method, path, headers, body: Buffer.concat(parts) });
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      answer?.(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    answerWith: (...given) => void (answers = given),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
