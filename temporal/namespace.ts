/** Which namespace of which Temporal a process speaks to. A name alone does not say it: most are called `default`. */
import type { Client } from '@temporalio/client';

/** Temporal answers in milliseconds; who asks goes on without it. */
const patienceMs = 2_000;

const known = new WeakMap<Client, string>();

/** The namespace's name and its id, which no other has. Undefined while Temporal does not answer, or does not tell. */
export async function namespaceIdOf(client: Client): Promise<string | undefined> {
  const { namespace } = client.options;
  const before = known.get(client);
  if (before !== undefined) return before;
  try {
    const { namespaceInfo } = await client.withDeadline(Date.now() + patienceMs, () =>
      client.workflowService.describeNamespace({ namespace }),
    );
    if (!namespaceInfo?.id) return undefined;
    const id = `${namespace}/${namespaceInfo.id}`;
    known.set(client, id);
    return id;
  } catch {
    return undefined;
  }
}
