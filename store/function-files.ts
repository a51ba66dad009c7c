/**
 * The functions of the database: migrations/functions has one file for each, as it is today, with its triggers and its grants. A
 * database remembers which text of each it has.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { ClientBase } from 'pg';
import { version } from '../package.json';

/** A file of migrations/functions. */
export interface FunctionFile {
  /** The function's, as is the file's but for its ending. */
  name: string;
  text: string;
  /** SHA-256 of the text. */
  checksum: string;
}

/** What stands for a text in the package, which compares and applies nothing. */
export const standInFor = ({ checksum }: Pick<FunctionFile, 'checksum'>): string =>
  `-- SHA-256 ${checksum}: \`npm run migrate\` of the repository has the text and applies it.\n`;
const stoodFor = /^-- SHA-256 ([0-9a-f]{64}): /;

const folder = path.join(__dirname, '..', 'migrations', 'functions');

/** Every function of this version, by name. */
export const functionFiles = (): FunctionFile[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => {
      const text = readFileSync(path.join(folder, file), 'utf8');
      const checksum = stoodFor.exec(text)?.[1] ?? createHash('sha256').update(text).digest('hex');
      return { name: path.basename(file, '.sql'), text, checksum };
    });

/** What a database has of the functions of this version. */
export interface FunctionsOfDatabase {
  /** Files whose text it has not. */
  changed: FunctionFile[];
  /** The newer version of Spendlock that wrote some of them; what it wrote is not to be replaced. */
  newerVersion: string | undefined;
}

/** Compares a database with the files. `client` may be the application's. */
export async function functionsOf(client: ClientBase): Promise<FunctionsOfDatabase> {
  const files = functionFiles();
  const { rows } = await client.query<{ there: boolean }>(
    `SELECT to_regclass('copilot_internal.schema_functions') IS NOT NULL AS there`,
  );
  if (!rows[0]?.there) return { changed: files, newerVersion: undefined };
  const known = await client.query<{ name: string; checksum: string; version: string; isNewer: boolean }>(
    `SELECT name, checksum, spendlock_version AS version,
            string_to_array(split_part(spendlock_version, '-', 1), '.')::integer[]
              > string_to_array(split_part($1, '-', 1), '.')::integer[] AS "isNewer"
     FROM copilot_internal.schema_functions`,
    [version],
  );
  const checksums = new Map(known.rows.map(({ name, checksum }) => [name, checksum]));
  return {
    changed: files.filter(({ name, checksum }) => checksums.get(name) !== checksum),
    newerVersion: known.rows.find(({ isNewer }) => isNewer)?.version,
  };
}

/**
 * Puts functions into the database, in a transaction of the caller's, as the role that owns them, and remembers their texts.
 * @throws Error that names the file whose SQL is refused.
 */
export async function applyFunctions(client: ClientBase, files: readonly FunctionFile[]): Promise<void> {
  await client.query('SET LOCAL ROLE spendlock_owner');
  // They call each other, so all of them are made before any is checked.
  for (const checked of ['off', 'on']) {
    await client.query(`SET LOCAL check_function_bodies = ${checked}`);
    for (const { name, text } of files) {
      await client.query(text).catch((error: unknown) => {
        if (error instanceof Error) error.message = `migrations/functions/${name}.sql: ${error.message}`;
        throw error;
      });
    }
  }
  await client.query(
    `INSERT INTO copilot_internal.schema_functions (name, checksum, spendlock_version)
     SELECT name, checksum, $3 FROM unnest($1::text[], $2::text[]) AS file (name, checksum)
     ON CONFLICT (name) DO UPDATE
     SET checksum = excluded.checksum, spendlock_version = excluded.spendlock_version, applied_at = clock_timestamp()`,
    [files.map(({ name }) => name), files.map(({ checksum }) => checksum), version],
  );
  // One that a numbered file dropped would count as there, should a file of its name come back.
  await client.query('DELETE FROM copilot_internal.schema_functions WHERE name <> ALL ($1)', [
    functionFiles().map(({ name }) => name),
  ]);
  await client.query('RESET ROLE');
}
