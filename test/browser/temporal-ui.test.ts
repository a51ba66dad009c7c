/** What an operator sees in Temporal UI itself: the questions of docs/operations.md, answered on its pages. */
import type { Browser, Frame, Page } from 'playwright-core';
import { budgetWorkflowId } from '../../contracts/messages';
import { startTestApi, type TestApi } from '../support/api';
import { picture, startBrowser } from '../support/browser';
import { makeScene, type Scene } from '../support/scene';
import { TestStack, until } from '../support/stack';

describe('Temporal UI', () => {
  let stack: TestStack;
  let api: TestApi;
  let scene: Scene;
  let browser: Browser;
  let page: Page;
  const ui = process.env.SPENDLOCK_TEST_TEMPORAL_UI ?? '';

  beforeAll(async () => {
    [stack, browser] = await Promise.all([TestStack.start(), startBrowser()]);
    api = await startTestApi(stack);
    scene = await makeScene(stack, api, 'globex');
    page = await (await browser.newContext({ viewport: { width: 1440, height: 1000 } })).newPage();
  });
  afterAll(async () => {
    await browser.close();
    await api.close();
    await stack.stop();
  });

  const open = async (path: string): Promise<void> => {
    await page.goto(`${ui}/namespaces/default/${path}`);
  };
  /** The UI asks a worker for the current details when it is told to, and shows them in a frame of their own. */
  const shown = async (text: string): Promise<void> => {
    await page.getByText('Current Details').waitFor();
    await until('the details are shown', async () => {
      await page.keyboard.press('r');
      await page.waitForTimeout(500);
      // One that is replaced meanwhile is looked at the next time.
      const textOf = (frame: Frame): Promise<string | null> =>
        frame
          .locator('body')
          .textContent()
          .catch(() => null);
      const frames = await Promise.all(page.frames().map(textOf));
      return frames.some((frame) => frame?.includes(text));
    });
  };
  const list = (query: string): Promise<void> => open(`workflows?query=${encodeURIComponent(query)}`);

  test('lists the runs that were refused, and a run’s page says by which quota', async () => {
    const quotas = [{ scope: 'user', scopeId: 'grace', resourceType: 'all', period: 'day', limitUsd: '0.001' }];
    await api.call('PUT', `/v1/tenants/${scene.tenantId}/quotas`, { body: { quotas } });
    const denied = await stack.run({ tenantId: scene.tenantId, userId: 'grace' });
    expect(denied.status).toBe('quota_exceeded');
    const query = `SpendlockTenantId = "${scene.tenantId}" AND SpendlockDenied = true`;
    await until('it is listed', async () => {
      for await (const { workflowId } of stack.temporal.workflow.list({ query })) return workflowId;
      return undefined;
    });
    await list(query);
    await page.getByText(denied.workflowId).first().waitFor();
    await picture(page, 'temporal-denied', { fullPage: false });
    const { runId } = await stack.temporal.workflow.getHandle(denied.workflowId).describe();
    await open(`workflows/${encodeURIComponent(denied.workflowId)}/${runId}/user-metadata`);
    await shown('quota of user grace per day has 0.001 USD left of 0.001 USD');
    await picture(page, 'temporal-run', { fullPage: false });
  });

  test('shows what a tenant has left on the page of its authority', async () => {
    const workflowId = budgetWorkflowId(scene.tenantId);
    const { runId } = await stack.temporal.workflow.getHandle(workflowId).describe();
    await open(`workflows/${encodeURIComponent(workflowId)}/${runId}/user-metadata`);
    await shown('left USD');
    await picture(page, 'temporal-budget', { fullPage: false });
  });

  test('lists who holds money now', async () => {
    stack.anthropic.knobs.latencyMs = 20_000;
    const run = await stack.start({ tenantId: scene.tenantId, userId: 'ada' });
    const query = `SpendlockTenantId = "${scene.tenantId}" AND SpendlockHoldsMoney = true`;
    await until('it is listed', async () => {
      for await (const { workflowId } of stack.temporal.workflow.list({ query }))
        if (workflowId === run.workflowId) return true;
      return undefined;
    });
    await list(query);
    await page.getByText(run.workflowId).first().waitFor();
    await picture(page, 'temporal-holding', { fullPage: false });
    await stack.temporal.workflow.getHandle(run.workflowId).cancel();
    await stack.finish({ tenantId: scene.tenantId, ...run });
  });
});
