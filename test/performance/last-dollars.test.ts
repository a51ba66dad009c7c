/** The last of a tenant's money by the policy that holds where none is said: it is used, and soon. */
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe("the last of a tenant's money", () => {
  let stack: TestStack;
  withInstallation((made) => ({ stack } = made));
  // $0.04 for a thousand tokens of output: a call may cost $0.004. What the stand-in says has 41 tokens, $0.00164.
  const run = { model: 'claude-for-the-last-seconds', limits: { maxOutputTokens: 100 }, task: 'Say one word.' };
  beforeAll(async () => {
    await stack.priceModel(run.model, '40');
    stack.anthropic.knobs.latencyMs = 200;
  });

  /** How long twenty runs take that begin at once, until they are paid; and how many complete. */
  const twenty = async (limitUsd: string): Promise<{ tookMs: number; completed: number }> => {
    const tenantId = await stack.tenant(limitUsd);
    const beganMs = performance.now();
    const started = await Promise.all(Array.from({ length: 20 }, () => stack.start({ tenantId, ...run })));
    await until('all are paid', async () => Number((await stack.books(tenantId)).spentUsd) > 0.0325, 60_000);
    const tookMs = performance.now() - beganMs;
    const runs = await Promise.all(started.map((one) => stack.finish({ tenantId, ...one })));
    return { tookMs, completed: runs.filter(({ status }) => status === 'completed').length };
  };

  test('XF2: by default none of twenty calls is denied, and less than a tenth of it is unused within five seconds, or twice what they take with money enough', async () => {
    const { tookMs: enoughMs } = await twenty('1');
    // Nine have money at once, and the others wait for what those do not use. All of them together leave less than a tenth.
    const { tookMs, completed } = await twenty('0.036');
    expect(completed).toBe(20);
    expect(tookMs).toBeLessThan(Math.max(5_000, 2 * enoughMs));
  });

  // Last: what it warms up would make the measure of the other a shorter one.
  test('XF2: by default at least nineteen of twenty calls complete of which each may cost a third of it and costs a hundredth', async () => {
    const tenantId = await stack.tenant('0.05');
    stack.anthropic.knobs.latencyMs = 200;
    // $0.016 are held, and $0.0004 spent.
    stack.anthropic.knobs.usage = { output_tokens: 10 };
    const third = { ...run, limits: { maxOutputTokens: 400 } };
    const started = await Promise.all(Array.from({ length: 20 }, () => stack.start({ tenantId, ...third })));
    const runs = await Promise.all(started.map((one) => stack.finish({ tenantId, ...one })));
    expect(runs.filter(({ status }) => status === 'completed').length).toBeGreaterThanOrEqual(19);
  });
});
