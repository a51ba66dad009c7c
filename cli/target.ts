/**
 * Which installation a command is about: the one that the environment names, or else the `npm start` of this checkout, while it
 * runs. Never half of the one and half of the other. Where it is not the latter, the first line on standard error says so.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { isApiKey } from '../client/http';
import { dataDirOf } from './data-dir';

/** What `npm start` writes of itself, for the commands of its checkout; gone when it has stopped. */
export interface LocalInstallation {
  apiUrl: string;
  apiKey: string;
  databaseUrl: string;
  temporalAddress: string;
  temporalNamespace: string;
  taskQueuePrefix: string;
  /** Whether what Temporal keeps is encrypted, by SPENDLOCK_PAYLOAD_KEYS. */
  isEncrypted: boolean;
  /** Whether its processes decide under mandates; absent where it is of the version before. */
  mandates?: boolean;
}

export const localInstallationFile = (dataDir: string): string => path.join(dataDir, 'api.json');

/** The environment does not say where to go, or only half of it: a wrong use. The message says what to do. */
export class EnvironmentError extends Error {}

const isSet = (environment: NodeJS.ProcessEnv, name: string): boolean => (environment[name] ?? '') !== '';

/** The running `npm start` of this checkout; undefined when none runs. */
export function localInstallation(environment: NodeJS.ProcessEnv): LocalInstallation | undefined {
  try {
    return JSON.parse(readFileSync(localInstallationFile(dataDirOf(environment)), 'utf8')) as LocalInstallation;
  } catch {
    return undefined;
  }
}

/** Said once a process, however many requests a command makes. */
const said = new Set<string>();
export function say(line: string): void {
  if (said.has(line)) return;
  said.add(line);
  console.error(line);
}

/** The API that was asked last, and where its key comes from, for whoever tells of a failure. */
let asked = { apiUrl: '', keyFrom: '' };
export const askedApi = (): typeof asked => asked;

const noUrl = (text: string): string =>
  `SPENDLOCK_API_URL is ${JSON.stringify(masked(text))}, which is no address of an API: it begins with http:// or https://` +
  `${/^[\w.-]+(:\d+)?(\/|$)/.test(text) ? `, such as http://${text}` : ''}. Nothing was done.`;

/** An address without what may be secret in it: a password, and all that follows a `?`. */
const masked = (text: string): string => text.replace(/\/\/.*@/, '//…@').replace(/[?#].*/, (rest) => `${rest[0]}…`);

/** Why an address is none of an API; undefined where it is one. */
function whyNoApi(text: string): string | undefined {
  if (!/^https?:\/\/[^/\s]\S*$/i.test(text) || !URL.canParse(text)) return noUrl(text);
  const { username, password, search, hash } = new URL(text);
  if (username !== '' || password !== '')
    return `SPENDLOCK_API_URL is ${JSON.stringify(masked(text))}: a name or a password has no place in it. Leave them out; the key is SPENDLOCK_API_KEY. Nothing was done.`;
  if (search !== '' || hash !== '')
    return `SPENDLOCK_API_URL is ${JSON.stringify(masked(text))}: it ends before ${hash === '' ? '?' : '#'}, since paths are put behind it. Nothing was done.`;
  return undefined;
}

/** Where the API is. @throws EnvironmentError when nothing names one, or only half of what is needed. */
export function apiTarget(environment: NodeJS.ProcessEnv): { apiUrl: string; apiKey: string } {
  const [apiUrl, apiKey] = [environment.SPENDLOCK_API_URL ?? '', environment.SPENDLOCK_API_KEY ?? ''];
  if (apiUrl !== '' && apiKey !== '') {
    const why = whyNoApi(apiUrl);
    if (why !== undefined) throw new EnvironmentError(why);
    // It is not repeated.
    if (!isApiKey(apiKey))
      throw new EnvironmentError(
        'SPENDLOCK_API_KEY is no API key: it has line breaks or other characters in it that no key has. Set it to the key alone. Nothing was done.',
      );
    say(`API: ${apiUrl} (SPENDLOCK_API_URL)`);
    asked = { apiUrl, keyFrom: 'SPENDLOCK_API_KEY' };
    return { apiUrl: apiUrl.replace(/\/+$/, ''), apiKey };
  }
  if (apiUrl !== '' || apiKey !== '') {
    const [there, missing] =
      apiUrl === '' ? ['SPENDLOCK_API_KEY', 'SPENDLOCK_API_URL'] : ['SPENDLOCK_API_URL', 'SPENDLOCK_API_KEY'];
    throw new EnvironmentError(
      `${there} is set and ${missing} is not. Set both, or neither to speak to the \`npm start\` of this checkout. Nothing was done.`,
    );
  }
  const local = localInstallation(environment);
  if (local) {
    asked = { apiUrl: local.apiUrl, keyFrom: localInstallationFile(dataDirOf(environment)) };
    return local;
  }
  throw new EnvironmentError(
    'No API to speak to. Set SPENDLOCK_API_URL and SPENDLOCK_API_KEY (an administration key), or run `npm start` here. Nothing was done.',
  );
}

/** Postgres, as a command needs it that works past the API. @throws EnvironmentError where nothing names it, or what names it cannot. */
export function databaseTarget(environment: NodeJS.ProcessEnv, orElse = ''): string {
  const { DATABASE_URL: url = '' } = environment;
  const nothing = 'Nothing was done.';
  if (url === '')
    throw new EnvironmentError(`DATABASE_URL is not set. Set it to what the workers use${orElse}. ${nothing}`);
  // What it says may be a secret.
  if (!/^postgres(ql)?:\/\/./.test(url) || !URL.canParse(url))
    throw new EnvironmentError(
      `DATABASE_URL is no postgres:// address of a database. Set it to what the workers use${orElse}. ${nothing}`,
    );
  return url;
}

/** Whether the environment says where Postgres or Temporal are. */
export const namesServers = (environment: NodeJS.ProcessEnv): boolean =>
  Object.keys(environment).some(
    (name) => (name === 'DATABASE_URL' || name.startsWith('TEMPORAL_')) && isSet(environment, name),
  );

/**
 * The environment of a worker of the installation: the one that the command has where it names a database or a Temporal, and
 * otherwise that of the running `npm start`.
 */
export function workerEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  if (namesServers(environment)) return environment;
  const local = localInstallation(environment);
  if (!local) return environment;
  const SPENDLOCK_MANDATES = local.mandates ? 'on' : 'off';
  return {
    ...environment,
    ...{ DATABASE_URL: local.databaseUrl, TEMPORAL_ADDRESS: local.temporalAddress, SPENDLOCK_MANDATES },
  };
}
