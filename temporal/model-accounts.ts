/** The accounts at providers of models that a process has, from its environment: of workers, and of processes that pass calls on. */
import { z } from 'zod';
import { httpUrl, orEmpty } from './environment';

const secret = z.string().min(1, { error: 'must not be empty' });

/** What a process reads. */
export const modelAccountVariables = {
  ANTHROPIC_API_KEY: orEmpty(secret),
  ANTHROPIC_BASE_URL: orEmpty(httpUrl),
  SPENDLOCK_ANTHROPIC_INFERENCE_GEO: orEmpty(
    z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, { error: 'must be a region such as global or us, or workspace' }),
  ),
  OPENAI_API_KEY: orEmpty(secret),
  OPENAI_BASE_URL: orEmpty(httpUrl),
  SPENDLOCK_OPENAI_SERVICE_TIER: orEmpty(z.literal('default', { error: 'must be default, or not be set' })),
  GEMINI_API_KEY: orEmpty(secret),
  GEMINI_BASE_URL: orEmpty(httpUrl),
};

/** Where each provider's key and address come from. */
const variables = {
  anthropic: { key: 'ANTHROPIC_API_KEY', address: 'ANTHROPIC_BASE_URL' },
  openai: { key: 'OPENAI_API_KEY', address: 'OPENAI_BASE_URL' },
  google: { key: 'GEMINI_API_KEY', address: 'GEMINI_BASE_URL' },
} as const;
export type ModelProviderName = keyof typeof variables;

export const modelKeyVariables: readonly string[] = Object.values(variables).map(({ key }) => key);

export interface ModelAccount {
  apiKey: string;
  /** Another address than the provider's own. */
  baseURL?: string | undefined;
  inferenceGeo?: string | undefined;
  /** What calls are served at that leave it open, where that is known. */
  serviceTier?: 'default' | undefined;
}
/** By the name that prices use. */
export type ModelAccounts = Partial<Record<ModelProviderName, ModelAccount>>;

/** The same of an environment that is checked elsewhere: what is empty is not set. */
export const modelAccountsIn = (environment: NodeJS.ProcessEnv): ModelAccounts =>
  modelAccountsOf(z.object(modelAccountVariables).parse(environment));

type Read = Partial<Record<keyof typeof modelAccountVariables, string | undefined>>;

/** The providers that there is a key for. */
export const modelAccountsOf = (read: Read): ModelAccounts =>
  Object.fromEntries(
    Object.entries(variables).flatMap(([name, { key, address }]) => {
      const apiKey = read[key];
      const { SPENDLOCK_ANTHROPIC_INFERENCE_GEO: inferenceGeo, SPENDLOCK_OPENAI_SERVICE_TIER: tier } = read;
      const geo = name === 'anthropic' && inferenceGeo !== undefined ? { inferenceGeo } : {};
      const own = name === 'openai' && tier === 'default' ? { serviceTier: 'default' as const } : {};
      return apiKey === undefined ? [] : [[name, { apiKey, baseURL: read[address], ...geo, ...own }]];
    }),
  );
