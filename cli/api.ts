/** How the command line reaches the API: by the typed client. What goes wrong is told in one place, `failures.ts`. */
import { createSpendlockClient, type SpendlockClient } from '../client';
import { watched } from './cut-off';
import { apiTarget } from './target';

/** How long an answer may take. */
const answerMs = 120_000;

/** Every resource of the API. @throws EnvironmentError when nothing says where it is. */
export function client(): SpendlockClient {
  const { apiUrl, apiKey } = apiTarget(process.env);
  return createSpendlockClient({ baseUrl: apiUrl, apiKey, timeoutMs: answerMs, around: watched });
}

/** A list to its end, page after page. `name` is what it calls its entries. */
export async function everyPage<N extends string, E>(
  name: N,
  ask: (page: { cursor?: string; limit: number }) => Promise<Record<N, E[]> & { nextCursor: string | null }>,
): Promise<Record<N, E[]> & { nextCursor: null }> {
  const entries: E[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: Record<N, E[]> & { nextCursor: string | null } = await ask({
      limit: 1_000,
      ...(cursor === '' ? {} : { cursor }),
    });
    entries.push(...page[name]);
    cursor = page.nextCursor;
  }
  return { [name]: entries, nextCursor: null } as Record<N, E[]> & { nextCursor: null };
}
