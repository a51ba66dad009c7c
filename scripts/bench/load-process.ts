/** The clients of the authority benchmark, in a process of their own: reserve, then commit, each in a closed loop. */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { amountUsd, costUsd } from './load-amounts';

export interface LoadOrder {
  url: string;
  key: string;
  clients: number;
  warmUpMs: number;
  measureMs: number;
}

export interface LoadResult {
  pairs: number;
  seconds: number;
  reserveMs: number[];
  /** Pairs in all, the warm-up's included: what the ledger must hold. */
  everyPair: number;
}

async function run({ url, key, clients, warmUpMs, measureMs }: LoadOrder): Promise<LoadResult> {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const post = (path: string, body: object, expected: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const text = JSON.stringify(body);
      const headers = {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      };
      const sent = request({ agent, hostname, port, path, method: 'POST', headers }, (response) => {
        let said = '';
        response.on('data', (data: Buffer) => (said += data.toString()));
        response.on('end', () =>
          response.statusCode === expected
            ? resolve()
            : reject(new Error(`${path} answered ${response.statusCode}: ${said}`)),
        );
      });
      sent.on('error', reject);
      sent.end(text);
    });
  const measuredFrom = performance.now() + warmUpMs;
  const until = measuredFrom + measureMs;
  const result: LoadResult = { pairs: 0, seconds: measureMs / 1000, reserveMs: [], everyPair: 0 };
  const client = async (): Promise<void> => {
    while (performance.now() < until) {
      const operationId = randomUUID();
      const startedMs = performance.now();
      await post('/v1/reservations', { operationId, resource: 'llm', amountUsd, kind: 'bench' }, 201);
      const reservedMs = performance.now();
      await post(`/v1/reservations/${operationId}/commit`, { costUsd }, 200);
      result.everyPair += 1;
      if (startedMs < measuredFrom || performance.now() > until) continue;
      result.pairs += 1;
      result.reserveMs.push(reservedMs - startedMs);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  agent.destroy();
  return result;
}

process.on('message', (order: LoadOrder) => {
  run(order).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.once('disconnect', () => process.exit());
process.send?.('ready');
