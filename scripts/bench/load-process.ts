/** The clients of the benchmarks, in a process of their own: reserve, then commit. */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { amountUsd, costUsd } from './load-amounts';

interface Target {
  url: string;
  key: string;
}

/** Clients in a closed loop for a time, or until so many pairs were made. */
export interface LoopOrder {
  /** Each client goes to one of them, as many to each. */
  urls: readonly string[];
  key: string;
  clients: number;
  until: { warmUpMs: number; measureMs: number } | { pairs: number };
}

/** Reserves of many tenants, all at once. */
export interface CrowdOrder extends Target {
  tenantIds: string[];
  each: number;
}

export type LoadOrder = LoopOrder | CrowdOrder;

export interface LoopResult {
  pairs: number;
  seconds: number;
  reserveMs: number[];
  /** Pairs in all, the warm-up's included: what the ledger must hold. */
  everyPair: number;
  /** The longest time, while it was measured, in which no pair of anybody was done. */
  longestGapMs: number;
}

export interface CrowdResult {
  /** How long each tenant waited for the last of its answers. */
  waitedMs: number[];
  seconds: number;
}

export type LoadResult<O extends LoadOrder> = O extends LoopOrder ? LoopResult : CrowdResult;

type Post = (path: string, body: object, expected: number) => Promise<void>;

/** @throws Error when the answer is not the one that is expected. */
function poster({ url, key }: Target, agent: Agent): Post {
  const { hostname, port } = new URL(url);
  return (path, body, expected) =>
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
}

async function loop({ urls, key, clients, until }: LoopOrder): Promise<LoopResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const posts = urls.map((url) => poster({ url, key }, agent));
  const startedMs = performance.now();
  const timed = 'measureMs' in until;
  const measuredFrom = startedMs + (timed ? until.warmUpMs : 0);
  const endMs = timed ? measuredFrom + until.measureMs : Infinity;
  const pairsMax = timed ? Infinity : until.pairs;
  const result: LoopResult = { pairs: 0, seconds: 0, reserveMs: [], everyPair: 0, longestGapMs: 0 };
  let begun = 0;
  let lastDoneMs = measuredFrom;
  const noteGap = (nowMs: number): void => {
    if (nowMs > measuredFrom) result.longestGapMs = Math.max(result.longestGapMs, nowMs - lastDoneMs);
    lastDoneMs = Math.max(measuredFrom, nowMs);
  };
  const client = async (post: Post): Promise<void> => {
    while (performance.now() < endMs && begun < pairsMax) {
      begun += 1;
      const operationId = randomUUID();
      const askedMs = performance.now();
      await post('/v1/reservations', { operationId, resource: 'llm', amountUsd, kind: 'bench' }, 201);
      const reservedMs = performance.now();
      await post(`/v1/reservations/${operationId}/commit`, { costUsd }, 200);
      result.everyPair += 1;
      noteGap(Math.min(performance.now(), endMs));
      if (askedMs < measuredFrom || performance.now() > endMs) continue;
      result.pairs += 1;
      result.reserveMs.push(reservedMs - askedMs);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, at) => client(posts[at % posts.length] as Post)));
  agent.destroy();
  result.seconds = (timed ? until.measureMs : performance.now() - startedMs) / 1000;
  return result;
}

async function crowd({ tenantIds, each, ...target }: CrowdOrder): Promise<CrowdResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1_000 });
  const post = poster(target, agent);
  const startedMs = performance.now();
  const waitedMs = await Promise.all(
    tenantIds.map(async (tenantId) => {
      await Promise.all(
        Array.from({ length: each }, () =>
          post(
            '/v1/reservations',
            { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd, kind: 'bench' },
            201,
          ),
        ),
      );
      return performance.now() - startedMs;
    }),
  );
  agent.destroy();
  return { waitedMs, seconds: (performance.now() - startedMs) / 1000 };
}

process.on('message', (order: LoadOrder) => {
  const carriedOut: Promise<LoopResult | CrowdResult> = 'clients' in order ? loop(order) : crowd(order);
  carriedOut.then(
    (result) => process.send?.(result),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.once('disconnect', () => process.exit());
process.send?.('ready');
