/**
 * A caller in a process of its own, which asks the API for more than is fair. It stands for another machine, so it has what the
 * API leaves of this one: its priority is lower. It begins when it is told so, and tells how often it was answered with which status.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { setPriority } from 'node:os';

export type LoadOrder =
  | { kind: 'bodies'; count: number; bytes: number }
  | { kind: 'flood'; connections: number; requests: LoadRequest[] }
  /** Without a key, sixteen in one write. */
  | { kind: 'pipelined'; connections: number; path: string }
  /** Ends either. */
  | { kind: 'end' };

/** `$ID` stands for a new id in each request. */
export interface LoadRequest {
  method: string;
  path: string;
  body?: object;
}

export type Statuses = Record<number, number>;

const [port = '', key = ''] = process.argv.slice(2);
setPriority(10);
let isOver = false;

async function sendBodies({ count, bytes }: { count: number; bytes: number }): Promise<Statuses> {
  const statuses: Statuses = {};
  const file = { name: 'a.txt', contentBase64: 'a'.repeat(bytes) };
  const body = Buffer.from(JSON.stringify({ task: 'x', file }));
  await Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect(Number(port), '127.0.0.1').on('error', () => undefined);
      socket.write(`POST /v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n`);
      socket.write(`content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`);
      socket.write(body);
      const [head] = (await once(socket, 'data').catch(() => [''])) as [Buffer | string];
      const status = Number(/^HTTP\/1.1 (\d+)/.exec(head.toString())?.[1] ?? 0);
      statuses[status] = (statuses[status] ?? 0) + 1;
      socket.destroy();
    }),
  );
  return statuses;
}

async function flood({ connections, requests }: { connections: number; requests: LoadRequest[] }): Promise<Statuses> {
  const statuses: Statuses = {};
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  let sent = 0;
  const one = async (): Promise<void> => {
    while (!isOver) {
      const next = requests[sent++ % requests.length];
      if (!next) return;
      const status = await send(agent, next);
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: connections }, one));
  agent.destroy();
  return statuses;
}

async function pipelined({ connections, path }: { connections: number; path: string }): Promise<Statuses> {
  const statuses: Statuses = {};
  const requests = `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`.repeat(16);
  const one = async (): Promise<void> => {
    const socket = connect(Number(port), '127.0.0.1').on('error', () => undefined);
    let answered = 0;
    socket.on('data', (data: Buffer) => {
      for (const [, status] of data.toString('latin1').matchAll(/HTTP\/1.1 (\d+)/g)) {
        statuses[Number(status)] = (statuses[Number(status)] ?? 0) + 1;
        answered += 1;
        if (answered % 16 === 0 && !isOver) socket.write(requests);
      }
    });
    socket.write(requests);
    while (!isOver && !socket.closed) await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
  };
  await Promise.all(Array.from({ length: connections }, one));
  return statuses;
}

const send = (agent: Agent, { method, path, body }: LoadRequest): Promise<number> =>
  new Promise((resolve) => {
    const text = body && JSON.stringify(body).replaceAll('$ID', randomUUID());
    const headers = {
      authorization: `Bearer ${key}`,
      ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
    };
    const sent = httpRequest({ host: '127.0.0.1', port, agent, method, path, headers }, (answer) => {
      answer.resume().on('close', () => resolve(answer.statusCode ?? 0));
    });
    sent.on('error', () => resolve(0)).end(text);
  });

process.on('message', (order: LoadOrder) => {
  if (order.kind === 'end') {
    isOver = true;
    return;
  }
  isOver = false;
  const work = { bodies: sendBodies, flood, pipelined };
  void (work[order.kind] as (order: LoadOrder) => Promise<Statuses>)(order).then((statuses) =>
    process.send?.(statuses),
  );
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
