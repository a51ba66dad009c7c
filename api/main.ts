/** The API as a process: `npm run api`. Configured by its environment; drains on SIGTERM, SIGINT and SIGHUP. */
import { readPrices } from '../store/prices';
import { endWithin } from '../telemetry/end-within';
import { ConfigError } from '../temporal/environment';
import { apiConfig } from './config';
import { connectionsOf } from './connections';
import { omitUndefined } from '../core/omit-undefined';
import { startApi } from './server';

/** Requests that are under way have 10 s of it; what hangs after that is left to hang. */
const stopMaxMs = 20_000;

async function main(): Promise<void> {
  const config = apiConfig(process.env);
  const { log, temporal, pool, close } = connectionsOf('api', config);
  const api = await startApi({
    host: config.API_HOST,
    port: config.API_PORT,
    pool,
    temporal,
    log,
    taskQueuePrefix: config.SPENDLOCK_TASK_QUEUE_PREFIX,
    defaultModel: config.SPENDLOCK_DEFAULT_MODEL,
    tools: config.tools,
    prices: () => readPrices(pool),
    links: { ...omitUndefined({ workflow: config.SPENDLOCK_WORKFLOW_URL, trace: config.SPENDLOCK_TRACE_URL }) },
    rateLimitPerSecond: config.SPENDLOCK_RATE_LIMIT_PER_SECOND,
    corsOrigins: config.SPENDLOCK_CORS_ORIGINS,
    enforced: { llm: config.ENFORCE_COST_QUOTAS, e2b: config.ENFORCE_E2B_QUOTAS },
    mandates: config.SPENDLOCK_MANDATES,
    proxy: {
      accounts: config.models,
      idleMs: config.SPENDLOCK_STREAM_IDLE_SECONDS * 1_000,
      holdSeconds: config.SPENDLOCK_PROXY_HOLD_SECONDS,
      rateLimitPerSecond: config.SPENDLOCK_RATE_LIMIT_PER_SECOND,
    },
  });
  log.info({ url: api.url }, 'API started');
  const stop = async (): Promise<void> => {
    log.info('API stopping');
    endWithin(stopMaxMs, log);
    await api.close();
    await close();
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => void stop());
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof ConfigError ? error.message : `The API failed: ${String(error)}`}\n`);
  process.exit(error instanceof ConfigError ? 2 : 1);
});
