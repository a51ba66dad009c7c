/** Files that a person names: read and written in the folder where the person is. */
import { createWriteStream, existsSync, renameSync, rmSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { InvalidArgumentError } from 'commander';
import type { AttachedFile } from '../client';
import { counted } from '../core/counted';
import { isRecord } from '../core/prices/usage';
import { CommandError, exitStatuses } from './failures';
import type { Json } from './options';
import { show } from './output';

export const fileOfCaller = (name: string): string => path.resolve(process.env.SPENDLOCK_CALLER_DIR ?? '.', name);

/** A file that goes with a run or a conversation. @throws InvalidArgumentError where it cannot be read. */
export async function readAttached(name: string): Promise<AttachedFile> {
  return { name: path.basename(name), content: await readNamed(name) };
}

/** @throws InvalidArgumentError that names the file: it was said wrong. */
export async function readNamed(name: string): Promise<Buffer> {
  try {
    return await readFile(fileOfCaller(name));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : message;
    throw new InvalidArgumentError(`${name} cannot be read: ${why}. Nothing was done.`);
  }
}

/** A JSON Schema from a file. @throws InvalidArgumentError where it cannot be read, or is no JSON object. */
export async function readSchema(name: string): Promise<Record<string, unknown>> {
  const text = (await readNamed(name)).toString('utf8');
  let why = 'it has to be a JSON object';
  try {
    const schema = JSON.parse(text) as unknown;
    if (isRecord(schema)) return schema;
  } catch (error) {
    why = (error as Error).message;
  }
  throw new InvalidArgumentError(`${name} is no JSON Schema: ${why}. Nothing was done.`);
}

/**
 * Writes what comes to a file: whole, or not there at all, also after Ctrl-C. `check` looks at it before it has its name.
 * @throws CommandError where there is such a file already.
 */
export async function writeWhole<T>(
  name: string,
  {
    open,
    check,
    force = false,
  }: {
    open: () => Promise<ReadableStream<Uint8Array>>;
    check: (file: string) => Promise<T>;
    force?: boolean;
  },
): Promise<T> {
  const target = fileOfCaller(name);
  if (!force && existsSync(target))
    throw new CommandError(
      `${name} is there already, and was left as it is. Name another file, or say --force to write it anew. Nothing was done.`,
    );
  const part = `${target}.${process.pid}.part`;
  const clear = (): void => rmSync(part, { force: true });
  const leave = (): never => {
    clear();
    process.exit(exitStatuses.interrupted);
  };
  process.once('SIGINT', leave);
  try {
    const pieces = await open();
    // For its owner alone: it holds what people said.
    await pipeline(Readable.fromWeb(pieces as never), createWriteStream(part, { flags: 'wx', mode: 0o600 }));
    const found = await check(part);
    renameSync(part, target);
    return found;
  } finally {
    process.off('SIGINT', leave);
    clear();
  }
}

/** Takes away a file that this command wrote. */
export const removeWritten = (name: string): void => rmSync(fileOfCaller(name), { force: true });

/** Writes the file of a run or a conversation, and says so. */
export async function writeAttached(
  name: string,
  open: () => Promise<ReadableStream<Uint8Array>>,
  { force = false, json = false }: Json & { force?: boolean },
): Promise<void> {
  const bytes = await writeWhole(name, { open, force, check: async (file) => (await stat(file)).size });
  show(json, { file: name, bytes }, () => `${name} has ${counted(bytes, 'byte')}.`);
}
