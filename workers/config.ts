/** What a worker reads from its environment, once. A wrong value stops it at once and is named. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import type { DataConverter } from '@temporalio/common';
import { temporalServerFrom, type TemporalServer } from '../temporal/connection';
import { dataConverterFrom } from '../temporal/encryption/data-converter';
import {
  attempt,
  commonVariables,
  count,
  httpUrl,
  orEmpty,
  problemsOf,
  wrongEnvironment,
} from '../temporal/environment';
import {
  modelAccountsOf,
  modelAccountVariables,
  modelKeyVariables,
  type ModelAccounts,
} from '../temporal/model-accounts';
import { toolSettingsFrom, type ToolSettings } from '../tools/settings';
import type { Keep } from '../activities/upkeep/retention';
import { defaultTaskQueuePrefix } from '../contracts/messages';

export const workerRoles = ['runs', 'budget', 'sandbox'] as const;
export type WorkerRole = (typeof workerRoles)[number];

const secret = z.string().min(1, { error: 'must not be empty' });
const list = <T extends string>(allowed: readonly [T, ...T[]]): z.ZodType<T[], string | undefined> =>
  z
    .string()
    .default(allowed.join(','))
    .transform((text) => text.split(',').map((part) => part.trim()))
    .pipe(z.array(z.enum(allowed, { error: `must be a comma-separated list of ${allowed.join(', ')}` })).min(1));
const days = orEmpty(
  z
    .string()
    .regex(/^[1-9]\d{0,4}$/, { error: 'must be a whole number of days from 1 to 99999' })
    .transform(Number),
);

/** Threads for the workflows of runs and conversations: half of the processors, since Postgres and the rest of the process need some too. */
export const runThreadsOf = (processors: number): number => Math.min(Math.max(Math.floor(processors / 2), 1), 4);

const schema = z.object({
  ...commonVariables,
  SPENDLOCK_TEMPORAL_METRICS_PORT: orEmpty(
    z
      .string()
      .regex(/^[1-9]\d{0,4}$/, { error: 'must be a port number' })
      .transform(Number)
      .pipe(z.number().max(65_535, { error: 'must be a port number, at most 65535' })),
  ),
  SPENDLOCK_DATABASE_POOL_SIZE: count(1, 100, 8),
  SPENDLOCK_TASK_QUEUE_PREFIX: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,60}$/, { error: 'must be lower-case letters, digits and hyphens' })
    .default(defaultTaskQueuePrefix),
  SPENDLOCK_TASK_QUEUES: list(workerRoles),
  ...modelAccountVariables,
  // Of a worker an empty one is a mistake.
  ANTHROPIC_API_KEY: secret.optional(),
  ANTHROPIC_BASE_URL: httpUrl.optional(),
  E2B_API_KEY: secret.optional(),
  E2B_API_URL: httpUrl.optional(),
  E2B_SANDBOX_URL: httpUrl.optional(),
  E2B_TEMPLATE: z.string().min(1).optional(),
  SPENDLOCK_SWEEP_MIN_AGE_SECONDS: count(1, 86_400, 120),
  SPENDLOCK_STREAM_IDLE_SECONDS: count(1, 600, 300),
  SPENDLOCK_CODE_LANGUAGES: list(['python', 'javascript']),
  SPENDLOCK_ALERT_WEBHOOK_URL: httpUrl.optional(),
  SPENDLOCK_ALERT_WEBHOOK_SECRET: z.string().min(16, { error: 'must have at least 16 characters' }).optional(),
  SPENDLOCK_KEEP_TRANSCRIPTS_DAYS: days,
  SPENDLOCK_KEEP_EVENTS_DAYS: days,
  SPENDLOCK_BUILD_ID: orEmpty(
    z.string().regex(/^[A-Za-z0-9._-]{1,128}$/, { error: 'must be letters, digits, dots, hyphens or underscores' }),
  ),
  SPENDLOCK_SHUTDOWN_SECONDS: count(1, 600, 30),
  SPENDLOCK_CALL_SLOTS: count(1, 1_000, 100),
  SPENDLOCK_RUN_THREADS: count(1, 64, runThreadsOf(availableParallelism())),
});

export interface WorkerConfig {
  databaseUrl: string;
  databasePoolSize: number;
  temporal: TemporalServer;
  /** Encrypts what Temporal keeps; undefined when nothing is to be encrypted. */
  dataConverter: DataConverter | undefined;
  taskQueuePrefix: string;
  roles: WorkerRole[];
  /** The providers of models that there is a key for, by the name that prices use. */
  models: ModelAccounts;
  e2b: { apiKey: string; apiUrl?: string | undefined; sandboxUrl?: string | undefined; template?: string | undefined };
  codeLanguages: ('python' | 'javascript')[];
  /** With what tools of tenants' own are called. */
  tools: ToolSettings;
  /** A model's stream that is silent for so long is ended. */
  streamIdleSeconds: number;
  /** A sandbox that nobody owns is ended once it is as old as this. */
  sweepMinAgeSeconds: number;
  enforced: { llm: boolean; e2b: boolean };
  mandates: boolean;
  alertWebhook?: { url: string; secret: string } | undefined;
  /** How long what was said and done is kept. */
  keep: Keep;
  /** Which version of the code this is, such as its commit. Without it workers have no versions. */
  buildId: string | undefined;
  shutdownSeconds: number;
  /** Calls of models that this process makes at once for runs, and as many again for turns of conversations. */
  callSlots: number;
  /** Threads that the workflows of runs and conversations share. */
  runThreads: number;
  /** Where Prometheus reads what Temporal's SDK keeps of this worker. */
  temporalMetricsPort: number | undefined;
  logLevel: string;
}

/** @throws ConfigError that names every wrong variable. Values are not repeated: they may be secrets. */
export function workerConfig(environment: NodeJS.ProcessEnv): WorkerConfig {
  const parsed = schema.safeParse(environment);
  const problems = problemsOf(parsed.error);
  const roles = parsed.success ? parsed.data.SPENDLOCK_TASK_QUEUES : [];
  if (roles.includes('runs') && modelKeyVariables.every((key) => !environment[key]))
    problems.push(`${modelKeyVariables.join(' or ')} is needed by workers of the runs queue`);
  if (roles.includes('sandbox') && !environment.E2B_API_KEY)
    problems.push('E2B_API_KEY is needed by workers of the sandbox queue');
  if (Boolean(environment.SPENDLOCK_ALERT_WEBHOOK_URL) !== Boolean(environment.SPENDLOCK_ALERT_WEBHOOK_SECRET)) {
    problems.push('SPENDLOCK_ALERT_WEBHOOK_URL and SPENDLOCK_ALERT_WEBHOOK_SECRET are set together or not at all');
  }
  const server = attempt(() => temporalServerFrom(environment), problems);
  const tools = attempt(() => toolSettingsFrom(environment), problems);
  const dataConverter = attempt(() => dataConverterFrom(environment), problems);
  if (!parsed.success || !server || !tools || problems.length > 0) {
    throw wrongEnvironment('The worker', problems);
  }
  const env = parsed.data;
  const { SPENDLOCK_ALERT_WEBHOOK_URL: url, SPENDLOCK_ALERT_WEBHOOK_SECRET: webhookSecret } = env;
  return {
    alertWebhook: url !== undefined && webhookSecret !== undefined ? { url, secret: webhookSecret } : undefined,
    databaseUrl: env.DATABASE_URL,
    tools,
    databasePoolSize: env.SPENDLOCK_DATABASE_POOL_SIZE,
    temporal: server,
    dataConverter,
    taskQueuePrefix: env.SPENDLOCK_TASK_QUEUE_PREFIX,
    roles: env.SPENDLOCK_TASK_QUEUES,
    models: modelAccountsOf(env),
    e2b: {
      apiKey: env.E2B_API_KEY ?? '',
      apiUrl: env.E2B_API_URL,
      sandboxUrl: env.E2B_SANDBOX_URL,
      template: env.E2B_TEMPLATE,
    },
    codeLanguages: env.SPENDLOCK_CODE_LANGUAGES,
    streamIdleSeconds: env.SPENDLOCK_STREAM_IDLE_SECONDS,
    sweepMinAgeSeconds: env.SPENDLOCK_SWEEP_MIN_AGE_SECONDS,
    enforced: { llm: env.ENFORCE_COST_QUOTAS, e2b: env.ENFORCE_E2B_QUOTAS },
    mandates: env.SPENDLOCK_MANDATES,
    keep: { transcriptsDays: env.SPENDLOCK_KEEP_TRANSCRIPTS_DAYS, eventsDays: env.SPENDLOCK_KEEP_EVENTS_DAYS },
    buildId: env.SPENDLOCK_BUILD_ID,
    shutdownSeconds: env.SPENDLOCK_SHUTDOWN_SECONDS,
    callSlots: env.SPENDLOCK_CALL_SLOTS,
    runThreads: env.SPENDLOCK_RUN_THREADS,
    temporalMetricsPort: env.SPENDLOCK_TEMPORAL_METRICS_PORT,
    logLevel: env.LOG_LEVEL,
  };
}
