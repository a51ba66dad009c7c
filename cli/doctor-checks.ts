/** What `npx spendlock doctor` looks at, one finding for each thing. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { Connection } from '@temporalio/client';
import type { Client } from 'pg';
import { optionalTsToMs } from '@temporalio/common/lib/time';
import { counted } from '../core/counted';
import type { TemporalServer } from '../temporal/connection';
import { defaultTaskQueuePrefix, searchAttributes, taskQueues } from '../contracts/messages';
import { missingSearchAttributes } from '../temporal/search-attributes';
import { connectTo } from '../store/connections';
import { functionsOf } from '../store/function-files';
import {
  appliedMigrations,
  clockMs,
  connectedRole,
  countAdministrationKeys,
  countPrices,
  serverVersion,
} from '../store/installation';
import { mandatesOf } from './doctor-mandates';
import { ok, skipped, wrong, type Finding } from './findings';
import { databaseTarget, EnvironmentError } from './target';
import { connectToTemporal, temporalTarget } from './temporal';
import { listVersions, type Deployment } from './worker-versions';

/** Clocks that differ by more than this make expiries early or late. */
const clockMsMax = 2_000;
const postgresMajorMin = 16;

export async function lookAtPostgres(environment: NodeJS.ProcessEnv): Promise<Finding[]> {
  let client: Client;
  try {
    client = await connectTo({ connectionString: databaseTarget(environment, ', or run `npm start` here') });
  } catch (error) {
    if (error instanceof EnvironmentError) return [wrong('Postgres', error.message)];
    const { code, message } = error as { code?: string; message: string };
    return [wrong('Postgres', `It cannot be reached (${code ?? message}). Check DATABASE_URL and that it runs.`)];
  }
  try {
    return [
      await versionOf(client),
      await roleOf(client),
      await migrationsOf(client),
      await pricesOf(client),
      await keysOf(client),
      await clockOf(client),
      ...(await mandatesOf(client, environment)),
    ];
  } finally {
    await client.end();
  }
}

async function versionOf(client: Client): Promise<Finding> {
  const version = await serverVersion(client);
  return Number.parseInt(version, 10) >= postgresMajorMin
    ? ok('Postgres', `It answers: ${version}.`)
    : wrong('Postgres', `It is ${version}; ${postgresMajorMin} or newer is needed.`);
}

async function roleOf(client: Client): Promise<Finding> {
  const { role, isUnbound } = await connectedRole(client);
  return isUnbound || role !== 'spendlock_app'
    ? wrong('role', `It connects as ${role}. Processes connect as spendlock_app, which row security binds.`)
    : ok('role', 'It connects as spendlock_app, which row security binds.');
}

async function migrationsOf(client: Client): Promise<Finding> {
  const files = readdirSync(path.join(__dirname, '..', 'migrations'))
    .filter((file) => file.endsWith('.sql'))
    .map((file) => file.replace(/[.]sql$/, ''));
  try {
    const applied = await appliedMigrations(client);
    const missing = files.filter((file) => !applied.has(file));
    if (missing.length > 0) return wrong('migrations', `Not applied: ${missing.join(', ')}. Run \`npm run migrate\`.`);
    const { changed, newerVersion } = await functionsOf(client);
    if (changed.length > 0 && newerVersion === undefined) {
      const names = changed.map(({ name }) => name).join(', ');
      return wrong('migrations', `Functions that are not those of this version: ${names}. Run \`npm run migrate\`.`);
    }
    const newer = [
      ...[...applied].filter((name) => !files.includes(name)),
      ...(newerVersion === undefined ? [] : [`functions of ${newerVersion}`]),
    ];
    return newer.length === 0
      ? ok('migrations', `All ${files.length} are applied.`)
      : ok('migrations', `All ${files.length} are applied, and of a newer version: ${newer.join(', ')}.`);
  } catch {
    return wrong('migrations', 'There is no schema that could be read. Run `npm run migrate`.');
  }
}

async function pricesOf(client: Client): Promise<Finding> {
  try {
    const { models, tiers } = await countPrices(client);
    return models > 0 && tiers > 0
      ? ok('prices', `In force: of ${counted(models, 'model')} and ${counted(tiers, 'sandbox tier')}.`)
      : wrong('prices', 'There are none: calls are refused. `npx spendlock prices set` and `set-sandbox` add them.');
  } catch {
    return skipped('prices', 'They could not be read.');
  }
}

async function keysOf(client: Client): Promise<Finding> {
  try {
    const count = await countAdministrationKeys(client);
    return count > 0
      ? ok('keys', `The administration has ${counted(count, 'key')}.`)
      : wrong(
          'keys',
          'The administration has none: nobody can steer this installation. `npx spendlock keys first` makes one.',
        );
  } catch {
    return skipped('keys', 'They could not be read.');
  }
}

async function clockOf(client: Client): Promise<Finding> {
  const sentMs = Date.now();
  const nowMs = await clockMs(client);
  const middleMs = (sentMs + Date.now()) / 2;
  const differenceMs = Math.round(Math.abs(nowMs - middleMs));
  return differenceMs <= clockMsMax
    ? ok('clock', `Postgres' and this machine's differ by ${differenceMs} ms.`)
    : wrong('clock', `Postgres' and this machine's differ by ${differenceMs} ms. Have both follow NTP.`);
}

export async function lookAtTemporal(environment: NodeJS.ProcessEnv): Promise<Finding[]> {
  const { SPENDLOCK_TASK_QUEUE_PREFIX: prefix = defaultTaskQueuePrefix } = environment;
  let server: TemporalServer;
  try {
    server = temporalTarget(environment);
  } catch (error) {
    return [wrong('Temporal', `How to connect is not clear: ${(error as Error).message}`)];
  }
  const { namespace } = server;
  const { address } = server.connection;
  let connection: Connection;
  try {
    connection = await connectToTemporal(server.connection, 5_000);
  } catch {
    return [
      wrong(
        'Temporal',
        `${address} cannot be reached. Check TEMPORAL_ADDRESS, TEMPORAL_TLS_… or the API key, and that it runs.`,
      ),
    ];
  }
  try {
    const found = [ok('Temporal', `${address} answers.`)];
    try {
      await connection.workflowService.describeNamespace({ namespace });
      found.push(ok('namespace', `${namespace} is there.`));
    } catch {
      return [
        ...found,
        wrong('namespace', `There is no ${namespace}. \`npx spendlock setup --create-namespace\` makes it.`),
      ];
    }
    found.push(await attributesOf(connection, namespace));
    for (const queue of Object.values(taskQueues(prefix)))
      found.push(await workersOf(connection, { namespace, queue }));
    found.push(...(await versionsOf({ connection, namespace, deploymentName: prefix })));
    return found;
  } finally {
    await connection.close();
  }
}

const described = (attributes: typeof searchAttributes): string =>
  attributes.map(({ name, type }) => `${name} (${type})`).join(', ');

async function attributesOf(connection: Connection, namespace: string): Promise<Finding> {
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
    const missing = missingSearchAttributes(customAttributes);
    return missing.length === 0
      ? ok('search attributes', `${searchAttributes.length} are registered.`)
      : wrong('search attributes', `Not registered: ${described(missing)}. \`npx spendlock setup\` registers them.`);
  } catch {
    return skipped(
      'search attributes',
      `The operator API is not open; these have to be there: ${described(searchAttributes)}.`,
    );
  }
}

/** Workers with versions get no work before one of them is promoted. */
async function versionsOf(deployment: Deployment): Promise<Finding[]> {
  const versions = await listVersions(deployment);
  if (versions.length === 0) return [];
  const current = versions.filter(({ percent }) => percent > 0).map(({ buildId }) => buildId);
  return [
    current.length > 0
      ? ok('versions', `New work goes to ${current.join(' and ')}; ${versions.length} known.`)
      : wrong(
          'versions',
          `No version gets work. Promote one: npx spendlock workers promote ${versions[0]?.buildId ?? ''}`,
        ),
  ];
}

/** A worker that lives asks again after a minute, if nothing came. */
const pollMsMax = 90_000;

async function workersOf(
  connection: Connection,
  { namespace, queue }: { namespace: string; queue: string },
): Promise<Finding> {
  const kinds = [1, 2] as const;
  const described = await Promise.all(
    kinds.map((taskQueueType) =>
      connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType }),
    ),
  );
  const pollers = described.flatMap(({ pollers: found }) => found ?? []);
  if (pollers.length === 0)
    return wrong(
      `workers of ${queue}`,
      'Nobody polls it: what waits there does not go on. Start a worker (`npm run worker`).',
    );
  const lastMs = Math.max(...pollers.map(({ lastAccessTime }) => optionalTsToMs(lastAccessTime) ?? 0));
  const ago = counted(Math.max(0, Math.round((Date.now() - lastMs) / 1_000)), 'second');
  const count = new Set(pollers.map(({ identity }) => identity)).size;
  return Date.now() - lastMs <= pollMsMax
    ? ok(`workers of ${queue}`, `${count} polled it in the last minutes, ${ago} ago the last time.`)
    : wrong(
        `workers of ${queue}`,
        `Nobody has polled it for ${ago}: its worker is gone, or stands still. Look at its log, or start one (\`npm run worker\`).`,
      );
}
