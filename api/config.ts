/** What the API reads from its environment, once. A wrong value stops it at once and is named. */
import { z } from 'zod';
import { ConfigError, flag } from '../workers/config';
import { defaultTaskQueuePrefix } from '../workflows/messages';

/** The model of runs that name none. */
export const defaultModel = 'claude-haiku-4-5';

const schema = z.object({
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\/.+/, { error: 'must be a postgres:// connection string of the role spendlock_app' }),
  TEMPORAL_ADDRESS: z
    .string()
    .regex(/^[^/\s]+:\d+$/, { error: 'must be host:port' })
    .default('127.0.0.1:7233'),
  TEMPORAL_NAMESPACE: z.string().min(1).default('default'),
  TEMPORAL_API_KEY: z.string().min(1).optional(),
  SPENDLOCK_TASK_QUEUE_PREFIX: z.string().min(1).default(defaultTaskQueuePrefix),
  SPENDLOCK_DEFAULT_MODEL: z.string().min(1).default(defaultModel),
  ENFORCE_COST_QUOTAS: flag,
  ENFORCE_E2B_QUOTAS: flag,
  API_HOST: z.string().min(1).default('127.0.0.1'),
  API_PORT: z
    .string()
    .regex(/^\d{1,5}$/, { error: 'must be a port number' })
    .default('8088')
    .transform(Number),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

export type ApiConfig = z.infer<typeof schema>;

/** @throws ConfigError that names every wrong variable. */
export function apiConfig(environment: NodeJS.ProcessEnv): ApiConfig {
  const parsed = schema.safeParse(environment);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    (issue) => `  ${issue.path.join('.')} ${issue.code === 'invalid_type' ? 'is not set' : issue.message}`,
  );
  throw new ConfigError(`The API was not started; its environment is wrong:\n${problems.join('\n')}`);
}
