/** What the proxy's own process reads from its environment, once. A wrong value stops it at once and is named. */
import { z } from 'zod';
import type { DataConverter } from '@temporalio/common';
import { defaultTaskQueuePrefix } from '../../contracts/messages';
import { temporalServerFrom, type TemporalServer } from '../../temporal/connection';
import { dataConverterFrom } from '../../temporal/encryption/data-converter';
import { attempt, commonVariables, count, port, problemsOf, wrongEnvironment } from '../../temporal/environment';
import {
  modelAccountsOf,
  modelAccountVariables,
  modelKeyVariables,
  type ModelAccounts,
} from '../../temporal/model-accounts';

/** What the proxy reads in whichever process it runs. */
export const proxyVariables = {
  ...modelAccountVariables,
  SPENDLOCK_STREAM_IDLE_SECONDS: count(1, 600, 300),
  SPENDLOCK_PROXY_HOLD_SECONDS: count(5, 3_600, 180),
};

const schema = z.object({
  ...commonVariables,
  ...proxyVariables,
  SPENDLOCK_TASK_QUEUE_PREFIX: z.string().min(1).default(defaultTaskQueuePrefix),
  SPENDLOCK_RATE_LIMIT_PER_SECOND: count(1, 1_000_000, 5_000),
  PROXY_HOST: z.string().min(1).default('127.0.0.1'),
  PROXY_PORT: port(8089),
  SPENDLOCK_SHUTDOWN_SECONDS: count(1, 600, 120),
});

export type ProxyConfig = z.infer<typeof schema> & {
  temporal: TemporalServer;
  dataConverter: DataConverter | undefined;
  models: ModelAccounts;
};

/** @throws ConfigError that names every wrong variable. */
export function proxyConfig(environment: NodeJS.ProcessEnv): ProxyConfig {
  const parsed = schema.safeParse(environment);
  const problems = problemsOf(parsed.error);
  if (modelKeyVariables.every((key) => !environment[key])) problems.push(`${modelKeyVariables.join(' or ')} is needed`);
  const temporal = attempt(() => temporalServerFrom(environment), problems);
  const dataConverter = attempt(() => dataConverterFrom(environment), problems);
  if (!parsed.success || !temporal || problems.length > 0) throw wrongEnvironment('The proxy', problems);
  return { ...parsed.data, temporal, dataConverter, models: modelAccountsOf(parsed.data) };
}
