/** Every row of a tenant in a file: whole, or not there at all. */
import { createReadStream, createWriteStream, existsSync, renameSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { client } from './api';
import { CommandError, exitStatuses } from './failures';
import { fileOfCaller } from './files';

/** Writes the file, and answers how many rows there are. @throws CommandError where it is there already, or broke off. */
export async function exportTenant(tenantId: string, file: string, { force }: { force: boolean }): Promise<number> {
  const target = fileOfCaller(file);
  if (!force && existsSync(target))
    throw new CommandError(
      `${file} is there already, and was left as it is. Name another file, or say --force to write it anew. Nothing was done.`,
    );
  const part = `${target}.${process.pid}.part`;
  const clear = (): void => rmSync(part, { force: true });
  const leave = (): never => {
    clear();
    process.exit(exitStatuses.interrupted);
  };
  process.once('SIGINT', leave);
  try {
    const rows = await client().tenants.export(tenantId);
    // For its owner alone: it holds what people said.
    await pipeline(Readable.fromWeb(rows as never), createWriteStream(part, { flags: 'wx', mode: 0o600 }));
    const count = await countWhole(part);
    if (count === undefined)
      throw new CommandError(`The export of ${tenantId} broke off; nothing was written or deleted. Try again.`);
    renameSync(part, target);
    return count;
  } finally {
    process.off('SIGINT', leave);
    clear();
  }
}

/** How many rows the last line counts; undefined where it is not the last. */
async function countWhole(file: string): Promise<number | undefined> {
  let last = '';
  for await (const line of createInterface({ input: createReadStream(file) })) last = line;
  const { end = false, rows = 0 } = JSON.parse(last || '{}') as { end?: boolean; rows?: number };
  return end ? rows : undefined;
}
