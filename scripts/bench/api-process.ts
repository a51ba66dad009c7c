/** The API of the authority benchmark, in a process of its own: as the product runs it, or with a plain alternative behind it. */
import { Client, Connection } from '@temporalio/client';
import { defaultModel } from '../../api/config';
import { startApi } from '../../api/server';
import { signallingConnection } from '../../temporal/connection';
import { commonVariables } from '../../temporal/environment';
import { createPool } from '../../store/pool';
import { readPrices } from '../../store/prices';
import { createLog } from '../../telemetry/log';
import { startTelemetry } from '../../telemetry/start';
import { defaultTaskQueuePrefix } from '../../contracts/messages';
import { coalescedSql, plainSql } from './plain-authority';

export type Backend = 'authority' | 'sql' | 'sqlCoalesced';

async function main(): Promise<void> {
  const { backend, databaseUrl, address } = JSON.parse(process.argv[2] ?? '{}') as Record<string, string>;
  // Connections that only queue for one row gain nothing: four is the best for the plain alternative.
  const pool = createPool(databaseUrl ?? '', { max: 4 });
  const connection = await Connection.connect(signallingConnection({ address: address ?? '' }));
  const temporal = new Client({ connection, plugins: [startTelemetry('spendlock-api').plugin] });
  const plain = { sql: plainSql, sqlCoalesced: coalescedSql };
  const api = await startApi({
    host: '127.0.0.1',
    port: 0,
    pool,
    temporal,
    log: createLog({ name: 'bench-api', level: 'warn' }),
    taskQueuePrefix: defaultTaskQueuePrefix,
    defaultModel,
    prices: () => readPrices(pool),
    enforced: { llm: true, e2b: true },
    mandates: commonVariables.SPENDLOCK_MANDATES.parse(process.env.SPENDLOCK_MANDATES),
    ...(backend === 'sql' || backend === 'sqlCoalesced' ? { authority: plain[backend](pool) } : {}),
  });
  process.send?.({ url: api.url });
  for (const end of ['disconnect', 'SIGTERM'] as const) process.once(end as 'SIGTERM', () => process.exit());
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
