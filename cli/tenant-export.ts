/** Every row of a tenant in a file: whole, or not there at all. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { client } from './api';
import { CommandError } from './failures';
import { writeWhole } from './files';

/** Writes the file, and answers how many rows there are. @throws CommandError where it is there already, or broke off. */
export const exportTenant = (tenantId: string, file: string, { force }: { force: boolean }): Promise<number> =>
  writeWhole(file, {
    force,
    open: () => client().tenants.export(tenantId),
    async check(written) {
      const count = await countWhole(written);
      if (count !== undefined) return count;
      throw new CommandError(`The export of ${tenantId} broke off; nothing was written or deleted. Try again.`);
    },
  });

/** How many rows the last line counts; undefined where it is not the last. */
async function countWhole(file: string): Promise<number | undefined> {
  let last = '';
  for await (const line of createInterface({ input: createReadStream(file) })) last = line;
  const { end = false, rows = 0 } = JSON.parse(last || '{}') as { end?: boolean; rows?: number };
  return end ? rows : undefined;
}
