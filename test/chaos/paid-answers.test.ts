/** What was paid for is kept when Postgres is away at the moment at which it arrives, and nothing is bought twice (XA2). */
import { startDatabaseProxy, type DatabaseProxy } from '../../scripts/chaos/database-proxy';
import { TestStack, until } from '../support/stack';

/** Longer than four attempts of a step take, with the pauses between them. */
const awayMs = 3_500;

describe('Postgres refuses while a paid answer arrives', () => {
  let stack: TestStack;
  let proxy: DatabaseProxy;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    proxy = await startDatabaseProxy(Number(new URL(stack.database.appUrl).port));
    const url = new URL(stack.database.appUrl);
    url.host = `127.0.0.1:${proxy.port}`;
    await stack.startHosted({ DATABASE_URL: url.toString() });
  });
  afterAll(async () => {
    await stack.stop();
    await proxy.close();
  });
  beforeEach(() => {
    Object.assign(stack.anthropic.knobs, { replies: [], latencyMs: 0 });
    stack.e2b.knobs.latencyMs = 0;
  });

  /** Postgres goes when something begins, and comes back some seconds after it has ended. */
  async function awayDuring(what: string, hasBegun: () => boolean, hasEnded: () => boolean): Promise<void> {
    await until(`${what} has begun`, hasBegun);
    proxy.set('refuse');
    await until(`${what} has ended`, hasEnded);
    await new Promise((resolve) => setTimeout(resolve, awayMs));
    proxy.set('pass');
  }

  test("a model's reply is kept: one call, one commit of what it cost", async () => {
    const tenantId = await stack.tenant('5');
    const before = stack.anthropic.calls().billable;
    stack.anthropic.knobs.latencyMs = 1_000;
    stack.anthropic.knobs.replies = [{ text: 'An answer that was paid for.' }];
    const started = await stack.start({ tenantId });
    const calls = () => stack.anthropic.calls();
    await awayDuring(
      'the call',
      () => calls().inFlight > 0,
      () => calls().inFlight === 0,
    );
    const run = await stack.finish({ tenantId, ...started });
    expect(run.steps).toMatchObject([{ attempt: 1, settlement: 'actual' }]);
    expect(calls().billable - before).toBe(1);
    expect(run).toMatchObject({ status: 'completed', answer: 'An answer that was paid for.' });
    expect(await stack.books(tenantId)).toMatchObject({
      ledgerUsd: run.costUsd,
      spentUsd: run.costUsd,
      reservedUsd: '0',
    });
  });

  test.each(['0.25', undefined])(
    'a program that ran is not run again, its tool having the price %s',
    async (priceUsd) => {
      const tenantId = await stack.tenant('5');
      const code = "setTimeout(() => console.log('ran'), 1500);";
      stack.anthropic.knobs.replies = [{ text: '', code }, { text: 'done' }];
      const calls = () => stack.e2b.calls();
      const { executed } = calls();
      const tools = [{ name: 'run_code', ...(priceUsd === undefined ? {} : { priceUsd }) }];
      const started = await stack.start({ tenantId, tools });
      let endsAtMs = Infinity;
      const hasBegun = (): boolean => {
        if (calls().executed > executed) endsAtMs = Math.min(endsAtMs, Date.now() + 3_000);
        return endsAtMs < Infinity;
      };
      await awayDuring('the program', hasBegun, () => Date.now() > endsAtMs);
      const run = await stack.finish({ tenantId, ...started });
      expect(run).toMatchObject({ status: 'completed', answer: 'done' });
      expect(calls().executed - executed).toBe(1);
      expect(run.steps.every(({ attempt, settlement }) => attempt === 1 && settlement === 'actual')).toBe(true);
      expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: run.costUsd, reservedUsd: '0' });
    },
  );

  test('a sandbox costs until it was ended, not until that could be written', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'done' }];
    const calls = () => stack.e2b.calls();
    const { executed, killed } = calls();
    const startedMs = Date.now();
    const started = await stack.start({ tenantId });
    await until('the program ran', () => calls().executed > executed);
    // From here on the provider is slow, so that there is time to take Postgres away before the sandbox has ended.
    stack.e2b.knobs.latencyMs = 1_500;
    let endedMs = 0;
    await awayDuring(
      'its end',
      () => calls().inFlight > 0,
      () => calls().killed > killed && (endedMs = Date.now()) > 0,
    );
    const run = await stack.finish({ tenantId, ...started });
    expect(run.status).toBe('completed');
    expect(calls().killed - killed).toBe(1);
    const { rows } = await stack.admin.query<{ seconds: number; settlement: string }>(
      `SELECT (outcome_usage ->> 'seconds')::integer AS seconds, settlement FROM copilot_internal.reservations
       WHERE tenant_id = $1 AND kind = 'sandbox.create'`,
      [tenantId],
    );
    expect(rows).toMatchObject([{ settlement: 'actual' }]);
    expect(rows[0]?.seconds).toBeLessThanOrEqual(Math.ceil((endedMs - startedMs) / 1_000) + 1);
  });
});
