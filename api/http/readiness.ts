/** Whether the process lives, and whether what it needs answers. */
import { ping } from '../../store/installation';
import type { ApiDependencies } from './context';

export const health = (): { status: string } => ({ status: 'alive' });

const patienceMs = 2_000;

export interface Readiness {
  status: 'ready' | 'unavailable';
  postgres: 'ok' | 'missing';
  temporal: 'ok' | 'missing';
}

/** Anybody may ask: those who ask at the same time are answered by one look. */
const looks = new WeakMap<object, Promise<Readiness>>();

export function readiness(dependencies: ApiDependencies): Promise<Readiness> {
  const { pool } = dependencies;
  const under = looks.get(pool) ?? look(dependencies).finally(() => looks.delete(pool));
  looks.set(pool, under);
  return under;
}

async function look({ pool, temporal }: ApiDependencies): Promise<Readiness> {
  const [postgres, server] = await Promise.all([
    answers(ping(pool)),
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
