/** Whether the process lives, and whether what it needs answers. */
import type { ApiDependencies } from './context';

export const health = (): { status: string } => ({ status: 'alive' });

const patienceMs = 2_000;

export interface Readiness {
  status: 'ready' | 'unavailable';
  postgres: 'ok' | 'missing';
  temporal: 'ok' | 'missing';
}

export async function readiness({ pool, temporal }: ApiDependencies): Promise<Readiness> {
  const [postgres, server] = await Promise.all([
    answers(pool.query('SELECT 1')),
    answers(
      temporal.connection.withDeadline(Date.now() + patienceMs, () => temporal.workflowService.getSystemInfo({})),
    ),
  ]);
  return { status: postgres === 'ok' && server === 'ok' ? 'ready' : 'unavailable', postgres, temporal: server };
}

async function answers(question: Promise<unknown>): Promise<'ok' | 'missing'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'missing'>((resolve) => (timer = setTimeout(() => resolve('missing'), patienceMs)));
  const answered = question.then(
    () => 'ok' as const,
    () => 'missing' as const,
  );
  return Promise.race([answered, late]).finally(() => clearTimeout(timer));
}
