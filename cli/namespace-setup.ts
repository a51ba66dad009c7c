/** Readies a Temporal namespace, and keeps how to reach it as a profile. What is there already is left as it is. */
import { existsSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isGrpcServiceError, type Connection } from '@temporalio/client';
import { clientConfigToToml, loadClientConfig, loadClientConfigProfile } from '@temporalio/envconfig';
import { msToTs } from '@temporalio/common/lib/time';
import { dayMs } from '../core/budget/periods';
import { counted } from '../core/counted';
import { missingSearchAttributes, registerSearchAttributes } from '../temporal/search-attributes';
import { tellingOfEnd } from './cut-off';
import { CommandError } from './failures';
import { fileOfCaller } from './files';
import { connectToTemporal, isNotFound, temporalTarget } from './temporal';

export interface SetupOptions {
  createNamespace?: boolean;
  retentionDays: number;
  save?: string;
  profile: string;
}

/** The operator API is not for us: permission denied, unimplemented, unauthenticated. */
const closedCodes = [7, 12, 16];

interface Done {
  isReady: boolean;
  steps: { what: string; says: string }[];
}

export function setUp(options: SetupOptions): Promise<Done> {
  const done: Done = { isReady: true, steps: [] };
  const now: UnderWay = {};
  return tellingOfEnd(
    () =>
      [
        ...(done.steps.length === 0 ? [] : [`Done: ${done.steps.map(({ says }) => says).join(' ')}`]),
        now.underWay === undefined
          ? 'Nothing else was changed.'
          : `${now.underWay} may have been done, or may be in a moment.`,
        'Run it again: what is there is left as it is.',
      ].join(' '),
    () => setUpNamespace(options, { done, now }),
  );
}

/** What changes the server just now. */
interface UnderWay {
  underWay?: string | undefined;
}

async function setUpNamespace(
  { createNamespace = false, retentionDays, save, profile }: SetupOptions,
  { done, now }: { done: Done; now: UnderWay },
): Promise<Done> {
  const { connection: server, namespace } = temporalTarget(process.env);
  const note = (what: string, says: string, ok = true): void => {
    now.underWay = undefined;
    done.steps.push({ what, says });
    done.isReady &&= ok;
  };
  const connection = await connectToTemporal(server).catch((error: unknown) => {
    throw new CommandError(
      `${server.address} cannot be reached (${(error as Error).message.split('\n')[0]}). Check TEMPORAL_ADDRESS, and TLS or the API key. Nothing was changed.`,
      'unreachable',
    );
  });
  try {
    note('server', `${server.address} answers${server.tls ? ', by TLS' : ''}.`);
    if (!(await hasNamespace(connection, namespace))) {
      if (!createNamespace) {
        note('namespace', `There is no ${namespace}. Make it, or run this again with --create-namespace.`, false);
        return done;
      }
      now.underWay = `Making ${namespace}`;
      await connection.workflowService.registerNamespace({
        namespace,
        workflowExecutionRetentionPeriod: msToTs(retentionDays * dayMs),
      });
      note('namespace', `${namespace} was made; ended workflows are kept for ${counted(retentionDays, 'day')}.`);
    } else note('namespace', `${namespace} is there.`);
    now.underWay = 'Registering search attributes';
    try {
      const registered = await register(connection, namespace);
      note('search attributes', registered.length === 0 ? 'All are there.' : `Registered: ${registered.join(', ')}.`);
    } catch (error) {
      if (!isGrpcServiceError(error) || !closedCodes.includes(Number(error.code))) throw error;
      // Temporal Cloud has another way for this.
      const commands = missingSearchAttributes({}).map(({ name, type }) => `--search-attribute ${name}=${type}`);
      note(
        'search attributes',
        `They cannot be registered from here. On Temporal Cloud: tcld namespace search-attributes add --namespace ${namespace} ${commands.join(' ')}`,
        false,
      );
    }
  } finally {
    await connection.close();
  }
  if (save !== undefined) {
    try {
      const file = fileOfCaller(save);
      saveProfile(file, profile);
      note('profile', `Written to ${save}. Use it: TEMPORAL_CONFIG_FILE=${file} TEMPORAL_PROFILE=${profile}`);
    } catch (error) {
      note('profile', `It could not be written to ${save} (${(error as Error).message}). The rest is done.`, false);
    }
  }
  return done;
}

async function hasNamespace(connection: Connection, namespace: string): Promise<boolean> {
  try {
    await connection.workflowService.describeNamespace({ namespace });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** Registers what is missing. A server tells its parts of a new namespace within some seconds. */
async function register(connection: Connection, namespace: string): Promise<string[]> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await registerSearchAttributes(connection, namespace);
    } catch (error) {
      if (!isNotFound(error) || tries >= 60) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

/** Adds the profile to a file, or replaces the one of that name; other profiles stay. */
function saveProfile(file: string, name: string): void {
  const known = existsSync(file) ? loadClientConfig({ configSource: { data: readFileSync(file) } }) : { profiles: {} };
  const profile = loadClientConfigProfile({ disableFile: process.env.TEMPORAL_CONFIG_FILE === undefined });
  const config = { ...known, profiles: { ...known.profiles, [name]: profile } };
  // A file that is there may be one that others read.
  const target = existsSync(file) ? realpathSync(file) : file;
  const written = `${target}.${process.pid}`;
  try {
    writeFileSync(written, clientConfigToToml(config), { mode: 0o600 });
    renameSync(written, target);
  } finally {
    rmSync(written, { force: true });
  }
}
