/** What a worker reads from its environment, once. A wrong value stops it at once and is named. */
import { z } from 'zod';
import type { DataConverter } from '@temporalio/common';
import { temporalServerFrom, type TemporalServer } from '../temporal/connection';
import { dataConverterFrom } from '../temporal/encryption/data-converter';
import type { Keep } from '../activities/upkeep/retention';
import { defaultTaskQueuePrefix } from '../contracts/messages';

export const workerRoles = ['runs', 'budget', 'sandbox'] as const;
export type WorkerRole = (typeof workerRoles)[number];

/** The environment is wrong: which variables, and how. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const flag = z
  .enum(['true', 'false'], { error: 'must be true or false' })
  .default('true')
  .transform((text) => text === 'true');
const address = (scheme: RegExp, what: string): z.ZodType<string> => z.string().regex(scheme, { error: what });
export const httpUrl = address(/^https?:\/\/.+/, 'must be an http:// or https:// address');
const secret = z.string().min(1, { error: 'must not be empty' });
/** A variable that a compose file hands on may be empty: then it is not set. */
export const orEmpty = <T extends z.ZodType>(type: T) =>
  z.preprocess((text) => (text === '' ? undefined : text), type.optional());
const list = <T extends string>(allowed: readonly [T, ...T[]]): z.ZodType<T[], string | undefined> =>
  z
    .string()
    .default(allowed.join(','))
    .transform((text) => text.split(',').map((part) => part.trim()))
    .pipe(z.array(z.enum(allowed, { error: `must be a comma-separated list of ${allowed.join(', ')}` })).min(1));
/** A whole number within bounds. */
export const count = (from: number, to: number, preset: number): z.ZodType<number, string | undefined> =>
  z
    .string()
    .regex(/^\d+$/, { error: `must be a whole number from ${from} to ${to}` })
    .default(String(preset))
    .transform(Number)
    .pipe(
      z
        .number()
        .min(from, { error: `must be at least ${from}` })
        .max(to, { error: `must be at most ${to}` }),
    );

const days = orEmpty(
  z
    .string()
    .regex(/^[1-9]\d{0,4}$/, { error: 'must be a whole number of days from 1 to 99999' })
    .transform(Number),
);

/** What every process of an installation reads. */
export const commonVariables = {
  DATABASE_URL: address(/^postgres(ql)?:\/\/.+/, 'must be a postgres:// connection string of the role spendlock_app'),
  /** Checked here, read with the rest of what concerns Temporal. */
  TEMPORAL_ADDRESS: address(/^[^/\s]+:\d+$/, 'must be host:port').optional(),
  ENFORCE_COST_QUOTAS: flag,
  ENFORCE_E2B_QUOTAS: flag,
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
};

/** The port that a server listens on. */
export const port = (preset: number): z.ZodType<number, string | undefined> =>
  z
    .string()
    .regex(/^\d{1,5}$/, { error: 'must be a port number' })
    .default(String(preset))
    .transform(Number);

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
  ANTHROPIC_API_KEY: secret.optional(),
  ANTHROPIC_BASE_URL: httpUrl.optional(),
  SPENDLOCK_ANTHROPIC_INFERENCE_GEO: orEmpty(
    z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, { error: 'must be a region such as global or us, or workspace' }),
  ),
  OPENAI_API_KEY: orEmpty(secret),
  OPENAI_BASE_URL: orEmpty(httpUrl),
  GEMINI_API_KEY: orEmpty(secret),
  GEMINI_BASE_URL: orEmpty(httpUrl),
  E2B_API_KEY: secret.optional(),
  E2B_API_URL: httpUrl.optional(),
  E2B_SANDBOX_URL: httpUrl.optional(),
  E2B_TEMPLATE: z.string().min(1).optional(),
  SPENDLOCK_SWEEP_MIN_AGE_SECONDS: count(1, 86_400, 120),
  SPENDLOCK_STREAM_IDLE_SECONDS: count(1, 600, 60),
  SPENDLOCK_CODE_LANGUAGES: list(['python', 'javascript']),
  SPENDLOCK_ALERT_WEBHOOK_URL: httpUrl.optional(),
  SPENDLOCK_ALERT_WEBHOOK_SECRET: z.string().min(16, { error: 'must have at least 16 characters' }).optional(),
  SPENDLOCK_KEEP_TRANSCRIPTS_DAYS: days,
  SPENDLOCK_KEEP_EVENTS_DAYS: days,
  SPENDLOCK_BUILD_ID: orEmpty(
    z.string().regex(/^[A-Za-z0-9._-]{1,128}$/, { error: 'must be letters, digits, dots, hyphens or underscores' }),
  ),
  SPENDLOCK_SHUTDOWN_SECONDS: count(1, 600, 30),
});

/** Where each provider's key and address come from. */
const modelVariables = {
  anthropic: { key: 'ANTHROPIC_API_KEY', address: 'ANTHROPIC_BASE_URL' },
  openai: { key: 'OPENAI_API_KEY', address: 'OPENAI_BASE_URL' },
  google: { key: 'GEMINI_API_KEY', address: 'GEMINI_BASE_URL' },
} as const;
export type ModelProviderName = keyof typeof modelVariables;

export interface WorkerConfig {
  databaseUrl: string;
  databasePoolSize: number;
  temporal: TemporalServer;
  /** Encrypts what Temporal keeps; undefined when nothing is to be encrypted. */
  dataConverter: DataConverter | undefined;
  taskQueuePrefix: string;
  roles: WorkerRole[];
  /** The providers of models that there is a key for, by the name that prices use. */
  models: Partial<
    Record<ModelProviderName, { apiKey: string; baseURL?: string | undefined; inferenceGeo?: string | undefined }>
  >;
  e2b: { apiKey: string; apiUrl?: string | undefined; sandboxUrl?: string | undefined; template?: string | undefined };
  codeLanguages: ('python' | 'javascript')[];
  /** A model's stream that is silent for so long is ended. */
  streamIdleSeconds: number;
  /** A sandbox that nobody owns is ended once it is as old as this. */
  sweepMinAgeSeconds: number;
  enforced: { llm: boolean; e2b: boolean };
  alertWebhook?: { url: string; secret: string } | undefined;
  /** How long what was said and done is kept. */
  keep: Keep;
  /** Which version of the code this is, such as its commit. Without it workers have no versions. */
  buildId: string | undefined;
  shutdownSeconds: number;
  /** Where Prometheus reads what Temporal's SDK keeps of this worker. */
  temporalMetricsPort: number | undefined;
  logLevel: string;
}

/** What is wrong, variable by variable. Values are not repeated: they may be secrets. */
export const problemsOf = (error: z.ZodError | undefined): string[] =>
  (error?.issues ?? []).map(
    ({ path, code, message }) => `${path.join('.')} ${code === 'invalid_type' ? 'is not set' : message}`,
  );

export const wrongEnvironment = (what: string, problems: readonly string[]): ConfigError =>
  new ConfigError(
    `${what} was not started; its environment is wrong:\n${problems.map((line) => `  ${line}`).join('\n')}`,
  );

/** What is read by itself; a failure is one problem more. */
export function attempt<T>(read: () => T, problems: string[]): T | undefined {
  try {
    return read();
  } catch (error) {
    problems.push((error as Error).message);
    return undefined;
  }
}

/** @throws ConfigError that names every wrong variable. Values are not repeated: they may be secrets. */
export function workerConfig(environment: NodeJS.ProcessEnv): WorkerConfig {
  const parsed = schema.safeParse(environment);
  const problems = problemsOf(parsed.error);
  const roles = parsed.success ? parsed.data.SPENDLOCK_TASK_QUEUES : [];
  const modelKeys = Object.values(modelVariables).map(({ key }) => key);
  if (roles.includes('runs') && modelKeys.every((key) => !environment[key]))
    problems.push(`${modelKeys.join(' or ')} is needed by workers of the runs queue`);
  if (roles.includes('sandbox') && !environment.E2B_API_KEY)
    problems.push('E2B_API_KEY is needed by workers of the sandbox queue');
  if (Boolean(environment.SPENDLOCK_ALERT_WEBHOOK_URL) !== Boolean(environment.SPENDLOCK_ALERT_WEBHOOK_SECRET)) {
    problems.push('SPENDLOCK_ALERT_WEBHOOK_URL and SPENDLOCK_ALERT_WEBHOOK_SECRET are set together or not at all');
  }
  const server = attempt(() => temporalServerFrom(environment), problems);
  const dataConverter = attempt(() => dataConverterFrom(environment), problems);
  if (!parsed.success || !server || problems.length > 0) {
    throw wrongEnvironment('The worker', problems);
  }
  const env = parsed.data;
  const { SPENDLOCK_ALERT_WEBHOOK_URL: url, SPENDLOCK_ALERT_WEBHOOK_SECRET: webhookSecret } = env;
  return {
    alertWebhook: url !== undefined && webhookSecret !== undefined ? { url, secret: webhookSecret } : undefined,
    databaseUrl: env.DATABASE_URL,
    databasePoolSize: env.SPENDLOCK_DATABASE_POOL_SIZE,
    temporal: server,
    dataConverter,
    taskQueuePrefix: env.SPENDLOCK_TASK_QUEUE_PREFIX,
    roles: env.SPENDLOCK_TASK_QUEUES,
    models: Object.fromEntries(
      Object.entries(modelVariables).flatMap(([name, { key, address: variable }]) => {
        const apiKey = env[key];
        const { SPENDLOCK_ANTHROPIC_INFERENCE_GEO: inferenceGeo } = env;
        const geo = name === 'anthropic' && inferenceGeo !== undefined ? { inferenceGeo } : {};
        return apiKey === undefined ? [] : [[name, { apiKey, baseURL: env[variable], ...geo }]];
      }),
    ),
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
    keep: { transcriptsDays: env.SPENDLOCK_KEEP_TRANSCRIPTS_DAYS, eventsDays: env.SPENDLOCK_KEEP_EVENTS_DAYS },
    buildId: env.SPENDLOCK_BUILD_ID,
    shutdownSeconds: env.SPENDLOCK_SHUTDOWN_SECONDS,
    temporalMetricsPort: env.SPENDLOCK_TEMPORAL_METRICS_PORT,
    logLevel: env.LOG_LEVEL,
  };
}
