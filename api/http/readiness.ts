/** Whether the process lives, and whether what it needs answers. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { ping } from '../../store/installation';
import type { ApiDependencies } from './context';
import { json, keylessRoute } from './openapi';
import type { ApiEnv } from './request';

/** Adds what orchestrators ask for. Neither needs a key. */
export function readinessRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    keylessRoute(
      { operationId: 'getHealth', summary: 'Whether the process lives', tag: 'Health' },
      {
        method: 'get',
        path: '/healthz',
        responses: { 200: json(z.object({ status: z.literal('alive') }), 'The process lives') },
      },
    ),
    (c) => c.json({ status: 'alive' as const }, 200),
  );
  app.openapi(
    keylessRoute(
      { operationId: 'getReadiness', summary: 'Whether what the process needs answers', tag: 'Health' },
      {
        method: 'get',
        path: '/readyz',
        responses: { 200: json(readinessView, 'Everything answers'), 503: json(readinessView, 'What does not') },
      },
    ),
    async (c) => {
      const state = await readiness(dependencies);
      return c.json(state, state.status === 'ready' ? 200 : 503);
    },
  );
}

const patienceMs = 2_000;

const readinessView = z.object({
  status: z.enum(['ready', 'unavailable']),
  postgres: z.enum(['ok', 'missing']),
  temporal: z.enum(['ok', 'missing']),
});
type Readiness = z.infer<typeof readinessView>;

/** Looks under way, by their pool. */
const looks = new WeakMap<object, Promise<Readiness>>();

/** Whether what a process needs answers. Anybody may ask: those who ask at the same time are answered by one look. */
export function readiness(dependencies: Pick<ApiDependencies, 'pool' | 'temporal'>): Promise<Readiness> {
  const { pool } = dependencies;
  const under = looks.get(pool) ?? look(dependencies).finally(() => looks.delete(pool));
  looks.set(pool, under);
  return under;
}

async function look({ pool, temporal }: Pick<ApiDependencies, 'pool' | 'temporal'>): Promise<Readiness> {
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
