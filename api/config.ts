/** What the API reads from its environment, once. A wrong value stops it at once and is named. */
import { z } from 'zod';
import type { DataConverter } from '@temporalio/common';
import { temporalServerFrom, type TemporalServer } from '../temporal/connection';
import { dataConverterFrom } from '../temporal/encryption/data-converter';
import { attempt, commonVariables, count, orEmpty, port, problemsOf, wrongEnvironment } from '../temporal/environment';
import { modelAccountsOf, type ModelAccounts } from '../temporal/model-accounts';
import { proxyVariables } from './proxy/config';
import { toolSettingsFrom, type ToolSettings } from '../tools/settings';
import { defaultTaskQueuePrefix } from '../contracts/messages';

/** The model of runs that name none. */
export const defaultModel = 'claude-haiku-4-5';

/** An address that the dashboard links to, with the place of an id in it. */
const link = (place: string) =>
  orEmpty(
    z.string().refine((text) => /^https?:\/\//.test(text) && text.includes(place), {
      error: `must be an http:// or https:// address with ${place} in it`,
    }),
  );

/** Whether a browser would write the text so as the Origin of a page: scheme, host and port, without a path. */
const isOrigin = (text: string): boolean =>
  /^https?:[^*]+$/.test(text) && URL.canParse(text) && new URL(text).origin === text;

/** Pages that may call the API from a browser. `*` is no origin: whoever means any page would mean those of strangers too. */
const origins = z
  .string()
  .default('')
  .transform((text) => text.split(',').flatMap((origin) => origin.trim() || []))
  .refine((all) => all.every(isOrigin), {
    error: 'must be origins such as https://app.example.com, separated by commas, without a path; * is refused',
  });

const schema = z.object({
  ...commonVariables,
  SPENDLOCK_TASK_QUEUE_PREFIX: z.string().min(1).default(defaultTaskQueuePrefix),
  SPENDLOCK_DEFAULT_MODEL: z.string().min(1).default(defaultModel),
  API_HOST: z.string().min(1).default('127.0.0.1'),
  API_PORT: port(8088),
  SPENDLOCK_WORKFLOW_URL: link('{workflowId}'),
  SPENDLOCK_TRACE_URL: link('{traceId}'),
  SPENDLOCK_RATE_LIMIT_PER_SECOND: count(1, 1_000_000, 5_000),
  SPENDLOCK_CORS_ORIGINS: origins,
  ...proxyVariables,
});

export type ApiConfig = z.infer<typeof schema> & {
  temporal: TemporalServer;
  dataConverter: DataConverter | undefined;
  /** Whose calls are passed on. */
  models: ModelAccounts;
  tools: ToolSettings;
};

/** @throws ConfigError that names every wrong variable. */
export function apiConfig(environment: NodeJS.ProcessEnv): ApiConfig {
  const parsed = schema.safeParse(environment);
  const problems = problemsOf(parsed.error);
  const temporal = attempt(() => temporalServerFrom(environment), problems);
  const dataConverter = attempt(() => dataConverterFrom(environment), problems);
  const tools = attempt(() => toolSettingsFrom(environment), problems);
  if (parsed.success && temporal && tools && problems.length === 0)
    return { ...parsed.data, tools, temporal, dataConverter, models: modelAccountsOf(parsed.data) };
  throw wrongEnvironment('The API', problems);
}
