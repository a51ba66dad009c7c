import { availableParallelism } from 'node:os';
import { apiConfig } from '../../../api/config';
import { runThreadsOf, workerConfig } from '../../../workers/config';

const good = {
  DATABASE_URL: 'postgres://spendlock_app@localhost/spendlock',
  ANTHROPIC_API_KEY: 'one',
  E2B_API_KEY: 'two',
};

describe('the configuration of a worker', () => {
  test('enforces quotas unless it is told not to, each apart (Q1)', () => {
    expect(workerConfig(good).enforced).toEqual({ llm: true, e2b: true });
    expect(workerConfig({ ...good, ENFORCE_COST_QUOTAS: 'false' }).enforced).toEqual({ llm: false, e2b: true });
    expect(workerConfig({ ...good, ENFORCE_E2B_QUOTAS: 'false' }).enforced).toEqual({ llm: true, e2b: false });
  });

  test('names every wrong value, and repeats none: it may be a secret', () => {
    const wrong = {
      DATABASE_URL: 'mysql://root:hunter@x',
      ENFORCE_COST_QUOTAS: 'no',
      SPENDLOCK_TASK_QUEUES: 'runs,bugdet',
      LOG_LEVEL: 'loud',
    };
    let message = '';
    try {
      workerConfig({ ...good, ...wrong });
    } catch (error) {
      message = (error as Error).message;
    }
    for (const name of Object.keys(wrong)) expect(message).toContain(name);
    expect(message).not.toContain('hunter');
  });

  test('needs a provider’s key for the queues that call it only', () => {
    expect(() => workerConfig({ DATABASE_URL: good.DATABASE_URL })).toThrow(/ANTHROPIC_API_KEY(.|\n)*E2B_API_KEY/);
    expect(workerConfig({ DATABASE_URL: good.DATABASE_URL, SPENDLOCK_TASK_QUEUES: 'budget' }).roles).toEqual([
      'budget',
    ]);
  });
});

test.each([
  [1, 1],
  [2, 1],
  [4, 2],
  [7, 3],
  [64, 4],
])('of %d processors the workflows of runs have %d threads, unless it is said otherwise', (processors, threads) => {
  expect(runThreadsOf(processors)).toBe(threads);
  expect(workerConfig(good).runThreads).toBe(runThreadsOf(availableParallelism()));
  expect(workerConfig({ ...good, SPENDLOCK_RUN_THREADS: '6' }).runThreads).toBe(6);
  expect(() => workerConfig({ ...good, SPENDLOCK_RUN_THREADS: '0' })).toThrow(/SPENDLOCK_RUN_THREADS/);
});

describe('the configuration of the API', () => {
  test('listens on loopback unless it is told otherwise', () => {
    expect(apiConfig(good)).toMatchObject({ API_HOST: '127.0.0.1', API_PORT: 8088 });
    expect(() => apiConfig({ ...good, API_PORT: 'eighty' })).toThrow(/API_PORT must be a port number/);
  });

  test('XE20: lets no page of another origin in, but those that it names', () => {
    const of = (SPENDLOCK_CORS_ORIGINS: string): string[] =>
      apiConfig({ ...good, SPENDLOCK_CORS_ORIGINS }).SPENDLOCK_CORS_ORIGINS;
    expect(apiConfig(good).SPENDLOCK_CORS_ORIGINS).toEqual([]);
    expect(of('')).toEqual([]);
    expect(of('https://app.example.com, http://localhost:5173,')).toEqual([
      'https://app.example.com',
      'http://localhost:5173',
    ]);
    for (const wrong of [
      '*',
      'null',
      'app.example.com',
      'https://app.example.com/',
      'https://*.example.com',
      'file:///',
    ])
      expect(() => of(wrong)).toThrow(/SPENDLOCK_CORS_ORIGINS must be origins.*\* is refused/);
  });
});
