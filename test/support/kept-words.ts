/** Where words are kept: in which columns of which tables, and what the history of a workflow says. */
import { textIn } from '../../scripts/chaos/tool-checks';
import type { TestStack } from './stack';

/** Which columns of which tables have a text in them, as `table.column`. */
export async function columnsWith({ admin }: TestStack, text: string): Promise<string[]> {
  const { rows: tables } = await admin.query<{ name: string }>(
    `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'copilot_internal'`,
  );
  const found = await Promise.all(
    tables.map(async ({ name }) => {
      const { rows } = await admin.query<{ key: string }>(
        `SELECT DISTINCT field.key FROM copilot_internal.${name} AS t, jsonb_each_text(to_jsonb(t)) AS field WHERE strpos(field.value, $1) > 0`,
        [text],
      );
      return rows.map(({ key }) => `${name}.${key}`);
    }),
  );
  return found.flat();
}

/** All of a history in words, its payloads among them. */
export const historyOf = async ({ temporal }: TestStack, workflowId: string): Promise<string> =>
  textIn(await temporal.workflow.getHandle(workflowId).fetchHistory());
