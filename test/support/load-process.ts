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
  /** Ends a flood. */
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
  const done = order.kind === 'bodies' ? sendBodies(order) : flood(order);
  void done.then((statuses) => process.send?.(statuses));
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
