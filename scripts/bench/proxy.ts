/**
 * The wire proxy: how much later the first event of a stream is there than straight from the provider, with the same SDK, and what streams
 * that are open take. The provider is a stand-in; it, the proxy and the worker are processes of their own.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import { createApiKey } from '../../store/api-keys';
import { createPool } from '../../store/pool';
import type { AuthorityBench } from './authority';
import { benchTenant } from './bench-tenant';
import { BenchProcesses } from './processes';
import { perThing, processorMs, type ProcessorMs } from './processor-time';
import { median, quantile, type Print } from './report';

const model = 'claude-haiku-4-5';
const asked = {
  model,
  max_tokens: 100,
  messages: [{ role: 'user' as const, content: 'Hello' }],
  stream: true as const,
};
const warmUps = 100;
/** Calls of a repetition, one after the other. */
const calls = 200;
/** Streams of a repetition, all begun at once. */
const atOnce = 100;
const openStreams = 1_000;
/** So many of them are begun at a time. */
const begunAtOnce = 50;
/** Between two events of an open stream, of which there are eight. */
const spacingMs = 5_000;

interface Bench {
  /** Straight to the provider. */
  direct: Anthropic;
  proxied: Anthropic;
  proxy: ChildProcess;
  repetitions: number;
  print: Print;
}

interface OpenBench {
  proxy: ChildProcess;
  proxyUrl: string;
  providerUrl: string;
  key: string;
  print: Print;
}

export async function measureProxy(
  { databaseUrl, temporalAddress, repetitions }: AuthorityBench,
  print: Print,
): Promise<void> {
  const processes = new BenchProcesses();
  const pool = createPool(databaseUrl);
  try {
    const providerUrl = await processes.startModel();
    await processes.startWorker(databaseUrl, temporalAddress);
    const start = async (): Promise<{ proxy: ChildProcess; proxyUrl: string }> => {
      const { proxy, url } = await processes.startProxy({
        DATABASE_URL: databaseUrl,
        TEMPORAL_ADDRESS: temporalAddress,
        ANTHROPIC_API_KEY: 'stand-in',
        ANTHROPIC_BASE_URL: providerUrl,
      });
      return { proxy, proxyUrl: `${url}/proxy/anthropic` };
    };
    const tenantId = await benchTenant(pool, 'bench-proxy');
    const { key } = await createApiKey(pool, { tenantId, role: 'agent' });
    const way = (baseURL: string): Anthropic =>
      new Anthropic({ baseURL, apiKey: key, authToken: null, maxRetries: 0, timeout: 120_000 });
    const { proxy, proxyUrl } = await start();
    const bench = { direct: way(providerUrl), proxied: way(proxyUrl), proxy, repetitions, print };
    await measureOne(bench);
    await measureAtOnce(bench);
    // In one that has done little, which has no memory left over from before.
    const fresh = await start();
    const client = way(fresh.proxyUrl);
    for (let warm = 0; warm < warmUps; warm += 1) await firstEventMs(client);
    await measureOpen({ ...fresh, providerUrl, key, print });
  } finally {
    await processes.stop();
    await pool.end();
  }
}

/** From asking to the first event, and the stream read to its end. */
async function firstEventMs(client: Anthropic): Promise<number> {
  const startedMs = performance.now();
  let firstMs: number | undefined;
  for await (const _ of await client.messages.create(asked)) firstMs ??= performance.now() - startedMs;
  return firstMs ?? NaN;
}

/** One client: a call straight and a call through the proxy take turns. */
async function measureOne({ direct, proxied, proxy, repetitions, print }: Bench): Promise<void> {
  for (let warm = 0; warm < warmUps; warm += 1) for (const way of [direct, proxied]) await firstEventMs(way);
  const took = (): ProcessorMs | undefined => processorMs({ proxy: { pid: proxy.pid ?? 0 } });
  const before = took();
  const found = { direct: [] as number[][], proxied: [] as number[][] };
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    const sample = { direct: [] as number[], proxied: [] as number[] };
    for (let call = 0; call < calls; call += 1) {
      sample.direct.push(await firstEventMs(direct));
      sample.proxied.push(await firstEventMs(proxied));
    }
    for (const way of ['direct', 'proxied'] as const) found[way].push(sample[way]);
  }
  for (const share of [0.5, 0.99]) tellAdded(print, `proxy.first_event_added_p${share * 100}_ms`, found, share);
  const after = took();
  if (before && after)
    print('proxy.processor_ms_per_call', perThing(before, after, calls * repetitions).proxy ?? NaN, 'ms', { calls });
}

async function measureAtOnce({ direct, proxied, repetitions, print }: Bench): Promise<void> {
  const together = (way: Anthropic): Promise<number[]> =>
    Promise.all(Array.from({ length: atOnce }, () => firstEventMs(way)));
  for (const way of [direct, proxied]) await together(way);
  const found = { direct: [] as number[][], proxied: [] as number[][] };
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    found.direct.push(await together(direct));
    found.proxied.push(await together(proxied));
  }
  tellAdded(print, `proxy.first_event_added_${atOnce}_streams_p50_ms`, found, 0.5);
}

/** The median over repetitions of how much more a share of the sample took through the proxy. */
function tellAdded(
  print: Print,
  name: string,
  { direct, proxied }: { direct: number[][]; proxied: number[][] },
  share: number,
): void {
  const [straight, through] = [direct, proxied].map((samples) => samples.map((sample) => quantile(sample, share)));
  const added = (through ?? []).map((ms, at) => ms - (straight?.[at] ?? NaN));
  const round = (ms: number): number => Math.round(ms * 100) / 100;
  print(name, median(added), 'ms', {
    ...{ direct: round(median(straight ?? [])), proxied: round(median(through ?? [])) },
    ...{ repetitions: direct.length, calls: direct[0]?.length },
  });
}

/** Streams that stay open: whether each comes to its end, and by how much the memory of the proxy's process grows meanwhile. */
async function measureOpen({ proxyUrl, providerUrl, key, proxy, print }: OpenBench): Promise<void> {
  await setKnobs(providerUrl, { deltaSpacingMs: spacingMs });
  await sleep(2_000);
  const beforeKb = residentKb(proxy.pid);
  const agent = new Agent({ keepAlive: false, maxSockets: Infinity });
  const streams: OpenStream[] = [];
  const startedMs = performance.now();
  for (let begun = 0; begun < openStreams; begun += begunAtOnce) {
    const some = Array.from({ length: begunAtOnce }, () => openStream(`${proxyUrl}/v1/messages`, { key, agent }));
    streams.push(...some);
    await Promise.all(some.map(({ begins }) => begins));
  }
  const beganSeconds = (performance.now() - startedMs) / 1000;
  const openKb = residentKb(proxy.pid);
  const ends = await Promise.all(streams.map(({ ended }) => ended));
  const errors = ends.filter((text) => !text.includes('event: message_stop')).length;
  await setKnobs(providerUrl, { deltaSpacingMs: 0 });
  print('proxy.open_streams_errors', errors, 'errors', { streams: streams.length, beganSeconds });
  if (beforeKb !== undefined && openKb !== undefined)
    print('proxy.open_stream_kb', (openKb - beforeKb) / streams.length, 'KB', { beforeKb, openKb });
}

interface OpenStream {
  /** Its first piece is there; an error is told by its end alone. */
  begins: Promise<void>;
  /** All that came. */
  ended: Promise<string>;
}

function openStream(url: string, { key, agent }: { key: string; agent: Agent }): OpenStream {
  const headers = { 'content-type': 'application/json', 'anthropic-version': '2023-06-01', 'x-api-key': key };
  let text = '';
  let begin = (): void => undefined;
  const begins = new Promise<void>((resolve) => (begin = resolve));
  const ended = new Promise<string>((resolve) => {
    const end = (): void => {
      begin();
      resolve(text);
    };
    const request = httpRequest(url, { method: 'POST', headers, agent, timeout: 120_000 }, (response) => {
      response.on('data', (part: Buffer) => {
        text += part.toString();
        begin();
      });
      response.on('error', end).on('close', end);
    });
    request.on('error', end).end(JSON.stringify(asked));
  });
  return { begins, ended };
}

async function setKnobs(url: string, knobs: object): Promise<void> {
  const signal = AbortSignal.timeout(10_000);
  const headers = { 'x-api-key': 'any' };
  await fetch(`${url}/__stand-in/knobs`, { method: 'PUT', headers, body: JSON.stringify(knobs), signal });
}

/** What a process has in memory, from /proc. Elsewhere than on Linux there is none to tell. */
function residentKb(pid: number | undefined): number | undefined {
  const file = `/proc/${pid}/status`;
  return existsSync(file) ? Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(file, 'utf8'))?.[1]) : undefined;
}
