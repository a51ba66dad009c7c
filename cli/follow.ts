/** `npx spendlock runs follow`, and `runs start --follow`: a run as it happens, to its end. */
import { client } from './api';
import { CommandError, exitStatuses } from './failures';
import { Teller } from './happenings';
import type { Json } from './options';
import { show, usd } from './output';

const signals = ['SIGINT', 'SIGTERM'] as const;

/** Shows a run to its end and sets the exit status by it. Ctrl-C, or an end, leaves it running, and says so. */
export async function followRun(tenantId: string, runId: string, { json = false }: Json): Promise<void> {
  const api = client();
  const left = new AbortController();
  const leave = (): void => left.abort();
  for (const signal of signals) process.once(signal, leave);
  const teller = new Teller();
  try {
    for await (const event of api.runs.events(runId, { tenantId, signal: left.signal })) {
      if (!json) teller.tell(event);
      // A run that money was refused for ends so.
      if (event.type === 'error') break;
    }
  } catch (error) {
    if (!left.signal.aborted) throw error;
    teller.endLine();
    throw new CommandError(
      `${runId} goes on. To see it: npx spendlock runs follow ${tenantId} ${runId}; to stop it: npx spendlock runs cancel ${tenantId} ${runId}`,
      'interrupted',
    );
  } finally {
    for (const signal of signals) process.off(signal, leave);
  }
  teller.endLine();
  const run = await api.runs.get(runId, tenantId);
  const why = run.failure ? `: ${String(run.failure.message)}` : '';
  if (json) show(true, run, () => '');
  else console.error(`  · ${runId} ${run.status}, ${usd(run.costUsd)}${why}`);
  if (run.status === 'quota_exceeded') process.exitCode = exitStatuses.denied;
  else if (run.status !== 'completed') process.exitCode = exitStatuses.failed;
}
