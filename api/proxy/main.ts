/** The wire proxy as a process: `npm run proxy`. Configured by its environment; drains on SIGTERM, SIGINT and SIGHUP. */
import { readPrices } from '../../store/prices';
import { endWithin } from '../../telemetry/end-within';
import { ConfigError } from '../../temporal/environment';
import { connectionsOf } from '../connections';
import { proxyConfig } from './config';
import { startProxy } from './server';

/** Beyond what calls under way are given: for their outcomes, and for what hangs. */
const stopMoreMs = 15_000;

async function main(): Promise<void> {
  const config = proxyConfig(process.env);
  const { log, temporal, pool, close } = connectionsOf('proxy', config);
  const drainMs = config.SPENDLOCK_SHUTDOWN_SECONDS * 1_000;
  const proxy = await startProxy({
    ...{ host: config.PROXY_HOST, port: config.PROXY_PORT, drainMs, pool, temporal, log },
    taskQueuePrefix: config.SPENDLOCK_TASK_QUEUE_PREFIX,
    prices: () => readPrices(pool),
    enforced: { llm: config.ENFORCE_COST_QUOTAS, e2b: config.ENFORCE_E2B_QUOTAS },
    mandates: config.SPENDLOCK_MANDATES,
    accounts: config.models,
    idleMs: config.SPENDLOCK_STREAM_IDLE_SECONDS * 1_000,
    holdSeconds: config.SPENDLOCK_PROXY_HOLD_SECONDS,
    rateLimitPerSecond: config.SPENDLOCK_RATE_LIMIT_PER_SECOND,
  });
  log.info({ url: proxy.url }, 'proxy started');
  const stop = async (): Promise<void> => {
    log.info('proxy stopping');
    endWithin(drainMs + stopMoreMs, log);
    await proxy.close();
    await close();
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => void stop());
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof ConfigError ? error.message : `The proxy failed: ${String(error)}`}\n`);
  process.exit(error instanceof ConfigError ? 2 : 1);
});
