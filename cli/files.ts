/** Files that a person names: read and written in the folder where the person is. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { AttachedFile } from '../client';
import { CommandError } from './failures';

export const fileOfCaller = (name: string): string => path.resolve(process.env.SPENDLOCK_CALLER_DIR ?? '.', name);

/** A file that goes with a run or a conversation. @throws CommandError where it cannot be read. */
export async function readAttached(name: string): Promise<AttachedFile> {
  return { name: path.basename(name), content: await readNamed(name) };
}

/** @throws CommandError that names the file. */
export async function readNamed(name: string): Promise<Buffer> {
  try {
    return await readFile(fileOfCaller(name));
  } catch (error) {
    throw new CommandError(`${name} cannot be read (${(error as Error).message}). Nothing was done.`);
  }
}
