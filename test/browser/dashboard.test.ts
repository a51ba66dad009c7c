/** The dashboard as a person uses it, in a real Chromium. */
import { randomUUID } from 'node:crypto';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { createApiKey } from '../../store/api-keys';
import { startTestApi, type TestApi } from '../support/api';
import { picture, startBrowser } from '../support/browser';
import { TestConversation } from '../support/conversations';
import { makeScene, type Scene } from '../support/scene';
import { TestStack, until } from '../support/stack';

describe('the dashboard', () => {
  let stack: TestStack;
  let api: TestApi;
  let adminKey: string;
  let scene: Scene;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  const links = {
    workflow: `${process.env.SPENDLOCK_TEST_TEMPORAL_UI ?? ''}/namespaces/default/workflows/{workflowId}`,
  };
  /** What a page asked for, and what it complained of. */
  let asked: string[];
  let complaints: string[];

  beforeAll(async () => {
    [stack, browser] = await Promise.all([TestStack.start(), startBrowser()]);
    api = await startTestApi(stack, { links });
    ({ adminKey } = api);
    scene = await makeScene(stack, api, 'acme');
  });
  afterAll(async () => {
    await browser.close();
    await api.close();
    await stack.stop();
  });
  beforeEach(async () => {
    // What runs in the page is text here: this program knows no document.
    context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
    page = await context.newPage();
    asked = [];
    complaints = [];
    page.on('request', (request) => asked.push(request.url()));
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(String(error)));
  });
  afterEach(() => context.close());

  const signIn = async (key: string, place = '', on = page): Promise<void> => {
    await on.goto(`${api.url}/${place}`);
    await on.getByLabel('API key').fill(key);
    await on.keyboard.press('Enter');
    await on.getByRole('button', { name: 'Sign out' }).waitFor();
  };
  const post = (path: string, body: object) => api.call('POST', path, { body });
  const linkTo = (name: string) => page.getByRole('link', { name, exact: true });

  test('refuses a key that is none, and asks again', async () => {
    await page.goto(api.url);
    await page.getByLabel('API key').fill('slk_nonsense');
    await page.keyboard.press('Enter');
    expect(await page.getByRole('alert').textContent()).toContain('The API key is not known');
    await picture(page, 'sign-in');
    expect(await page.getByLabel('API key').isVisible()).toBe(true);
  });

  test('shows the administration every tenant, the nearest to its limit first, and finds one', async () => {
    await signIn(adminKey);
    await linkTo(scene.tenantId).waitFor();
    const names = await page.locator('tbody td:first-child').allTextContents();
    expect(names.indexOf(scene.tenantId)).toBeLessThan(names.indexOf(scene.calmTenantId));
    await picture(page, 'tenants');
    await page.keyboard.press('/');
    await page.keyboard.type(scene.calmTenantId);
    await expect(page.locator('tbody tr').count()).resolves.toBe(1);
    await page.keyboard.press('Escape');
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: scene.calmTenantId }).waitFor();
    await page.keyboard.press('u');
    await page.getByRole('heading', { name: 'Tenants' }).waitFor();
    expect(complaints).toEqual([]);
  });

  test('shows a tenant: what is left, where it goes, who was refused and why, who holds money', async () => {
    await signIn(adminKey, `#/tenants/${scene.tenantId}`);
    const section = (name: string) => page.getByRole('region', { name });
    const quota = section('Quotas').getByRole('row').filter({ hasText: 'tenant · all · month' });
    await quota.waitFor();
    expect(await quota.getByRole('meter').getAttribute('aria-label')).toMatch(/^8\d|^9\d/);
    expect(await section('Denials').textContent()).toContain(scene.deniedUser);
    expect(await section('Denials').textContent()).toMatch(/user · all · day|user \S+ · all · day/);
    expect(await section('Money held now').textContent()).toContain('external.call');
    expect(await section('Alerts').textContent()).toContain('% used');
    expect(await section('Spend by model').textContent()).toContain('claude-haiku-4-5');
    expect(await section('Runs and conversations').textContent()).toContain('conversation');
    expect(await page.locator('canvas').count()).toBe(2);
    await page.waitForTimeout(300);
    await picture(page, 'tenant');
    expect(complaints).toEqual([]);
  });

  test('shows what a run asks for; an operator grants it there, and a reader may not', async () => {
    const tenantId = await stack.tenant('0.001');
    const run = { tenantId, ...(await stack.start({ tenantId, onDenied: 'ask' })) };
    const requests = page.getByRole('region', { name: 'Asked for' });
    await signIn(await api.keyOf(tenantId, 'reader'));
    await requests.getByRole('row').filter({ hasText: 'llm.call' }).waitFor();
    expect(await requests.textContent()).toContain('by an operator');
    expect(await requests.getByRole('button', { name: 'Grant' }).count()).toBe(0);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await signIn(await api.keyOf(tenantId, 'operator'));
    const amount = requests.getByLabel('US dollars to grant');
    await amount.fill('nonsense');
    await requests.getByRole('button', { name: 'Grant' }).click();
    await requests.getByRole('alert').filter({ hasText: 'amountUsd' }).waitFor();
    await amount.fill('0.0001');
    await requests.getByText(/^Less than the \$0\.\d+ that its step lacks/).waitFor();
    await amount.fill('2');
    await requests.getByText('Less than the').waitFor({ state: 'detached' });
    await requests.getByRole('button', { name: 'Grant' }).click();
    expect(await stack.finish(run)).toMatchObject({ status: 'completed' });
    await requests.getByText('Nobody asks for money.').waitFor();
    const { requests: answered } = await api.admin.moneyRequests.list({ tenantId, runId: run.runId });
    expect(answered).toMatchObject([{ status: 'granted', grantedUsd: '2', decidedByRole: 'operator' }]);
  });

  /** Keeps the answers that pages send until what they are to come after was done. */
  const holdAnswers = async (count: number, before: () => Promise<void> = () => Promise.resolve()): Promise<void> => {
    let sent = 0;
    let goOn = (): void => undefined;
    const allSent = new Promise<void>((resolve) => (goOn = resolve)).then(before);
    await context.route('**/v1/money-requests/*', async (route) => {
      sent += 1;
      if (sent === count) goOn();
      await allSent;
      await route.continue();
    });
  };
  const asksForMoney = async () => {
    const tenantId = await stack.tenant('0.001');
    const run = { tenantId, ...(await stack.start({ tenantId, onDenied: 'ask' })) };
    await signIn(await api.keyOf(tenantId, 'operator'));
    const requests = page.getByRole('region', { name: 'Asked for' });
    await requests.getByRole('button', { name: 'Grant' }).waitFor();
    const answered = async () => (await api.admin.moneyRequests.list({ tenantId, runId: run.runId })).requests;
    return { tenantId, run, requests, answered };
  };

  test('takes a refusal of what a run asks for, and says where a grant comes too late that nothing was granted', async () => {
    const refused = await asksForMoney();
    await refused.requests.getByRole('button', { name: 'Refuse' }).click();
    expect(await stack.finish(refused.run)).toMatchObject({ status: 'quota_exceeded' });
    await refused.requests.getByText('Nobody asks for money.').waitFor();
    expect(await refused.requests.getByRole('alert').count()).toBe(0);
    expect(await refused.answered()).toMatchObject([{ status: 'refused', decidedByRole: 'operator' }]);
    await page.getByRole('button', { name: 'Sign out' }).click();

    const { tenantId, run, requests, answered } = await asksForMoney();
    await holdAnswers(1, async () => {
      await api.admin.runs.cancel(run.runId, tenantId);
      await stack.finish(run);
    });
    await requests.getByRole('button', { name: 'Grant' }).click();
    await requests
      .getByRole('alert')
      .filter({ hasText: /Nothing was granted|nothing was changed/ })
      .waitFor();
    await requests.getByText('Nobody asks for money.').waitFor();
    expect(await answered()).toMatchObject([{ status: 'withdrawn', grantedUsd: null }]);
  });

  test('takes one of two people who answer at once, and tells the other what stands', async () => {
    const { tenantId, run, requests, answered } = await asksForMoney();
    const other = await context.newPage();
    await signIn(await api.keyOf(tenantId, 'operator'), '', other);
    const seen = other.getByRole('region', { name: 'Asked for' });
    const refuse = seen.getByRole('button', { name: 'Refuse' });
    await refuse.waitFor();
    await holdAnswers(2);
    await Promise.all([requests.getByRole('button', { name: 'Grant' }).click(), refuse.click()]);
    const { status } = await stack.finish(run);
    const [request] = await answered();
    const isGranted = request?.status === 'granted';
    expect([isGranted, status]).toEqual([isGranted, isGranted ? 'completed' : 'quota_exceeded']);
    const [told, taken] = isGranted ? [seen, requests] : [requests, seen];
    await told
      .getByRole('alert')
      .filter({
        hasText: isGranted
          ? / granted \$.* That stands; nothing was changed\./
          : / refused\. That stands|Nothing was granted\./,
      })
      .waitFor();
    await taken.getByText('Nobody asks for money.').waitFor();
    expect(await taken.getByRole('alert').count()).toBe(0);
    const { quotas } = await api.admin.tenants.quotas(tenantId);
    expect(quotas.find(({ resourceType }) => resourceType === 'llm')?.topupUsd).toBe(
      isGranted ? request.grantedUsd : '0',
    );
  });

  test('shows what was spent by a label, with another thing, and of a label only', async () => {
    const tenantId = await stack.tenant('10');
    for (const [team, feature, costUsd] of [
      ['search', 'chat', '2'],
      ['search', 'summary', '1'],
      ['ads', 'chat', '0.5'],
    ] as const) {
      const operationId = randomUUID();
      await post('/v1/reservations', {
        ...{ operationId, tenantId, resource: 'llm', model: 'claude-haiku-4-5', amountUsd: '2' },
        labels: { team, feature },
      });
      await post(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd });
    }
    await signIn(adminKey, `#/tenants/${tenantId}`);
    const card = page.getByRole('region', { name: 'Spend by label, 31 days' });
    await card.waitFor();
    await card.getByLabel('By label').selectOption('team');
    const rows = () => card.locator('tbody tr').allTextContents();
    const shows = (expected: string[]) =>
      until('the card shows it', async () => JSON.stringify(await rows()) === JSON.stringify(expected));
    await shows(['search2$3.00', 'ads1$0.50']);
    await card.getByLabel('and by').selectOption('label:feature');
    await shows(['search · chat1$2.00', 'search · summary1$1.00', 'ads · chat1$0.50']);
    await picture(page, 'labels');
    await card.getByRole('button', { name: 'search · chat' }).click();
    await shows(['search · chat1$2.00', 'search · summary1$1.00']);
    await card.getByLabel('By label').selectOption('feature');
    await card.getByLabel('and by').selectOption('model');
    await shows(['chat · claude-haiku-4-51$2.00', 'summary · claude-haiku-4-51$1.00']);
    await card.getByRole('button', { name: 'Show what is not team:search too' }).click();
    await shows(['chat · claude-haiku-4-52$2.50', 'summary · claude-haiku-4-51$1.00']);
    expect(complaints).toEqual([]);
  });

  test('follows what happens without being reloaded, and comes back after the API was away', async () => {
    const tenantId = await stack.tenant('10');
    await signIn(adminKey, `#/tenants/${tenantId}`);
    await page.getByText('Nothing is held.').waitFor();
    const operationId = randomUUID();
    await post('/v1/reservations', { operationId, tenantId, resource: 'llm', amountUsd: '2' });
    await page.getByRole('region', { name: 'Money held now' }).getByText('$2.00').waitFor();
    const { port } = api;
    await api.close();
    await page.getByText('reconnecting …').waitFor();
    api = await startTestApi(stack, { port, links });
    await page.getByText('live', { exact: true }).waitFor({ timeout: 20_000 });
    await post(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd: '1.25' });
    await page.getByRole('region', { name: 'Quotas' }).getByText('$1.25').first().waitFor();
    await page.getByText('Nothing is held.').waitFor();
  });

  test('shows a run: each step over time, what it was to cost, cost, and gave back', async () => {
    await signIn(adminKey, `#/tenants/${scene.tenantId}`);
    await page
      .getByRole('link', { name: scene.runId.slice(0, 8) })
      .first()
      .click();
    await page.getByRole('heading', { level: 1, name: `Run ${scene.runId.slice(0, 8)}` }).waitFor();
    const steps = page.getByRole('region', { name: 'Steps' });
    await steps.getByText('llm.call #1').waitFor();
    expect(await steps.getByRole('row').count()).toBeGreaterThanOrEqual(4);
    expect(await steps.textContent()).toContain('committed');
    const link = await page.getByRole('link', { name: 'Temporal UI' }).getAttribute('href');
    expect(link).toContain(`/workflows/${encodeURIComponent(scene.workflowId)}`);
    await page.waitForTimeout(300);
    await picture(page, 'run');
    expect(complaints).toEqual([]);
  });

  test('says what caches came to: of a conversation, at first and later, and of its tenant', async () => {
    const tenantId = await stack.tenant('10');
    const talk = await TestConversation.start(api, tenantId, {
      model: 'claude-sonnet-5',
      instructions: 'A rule that holds. '.repeat(800),
    });
    const told = async (): Promise<string> => {
      stack.anthropic.knobs.replies = [{ text: 'Yes.' }];
      await talk.say('Is it so?');
      return String((await talk.show()).cacheSavedUsd);
    };
    const spent = await told();
    await signIn(adminKey, `#/tenants/${tenantId}/runs/${talk.id}`);
    const facts = page.getByRole('region', { name: 'What it came to' });
    /** The amount as it is, which a figure has in its title. */
    const fact = (name: string) => facts.locator('div', { hasText: name }).locator('.number').getAttribute('title');
    await facts.getByText('Spent on caches so far').waitFor();
    expect(`-${(await fact('Spent on caches so far'))?.slice(1)}`).toBe(spent);
    await told();
    const saved = await told();
    await until('its page says what was saved', async () => (await fact('Saved by caches')) === `$${saved}`);
    await page.waitForTimeout(300);
    await picture(page, 'caches-run');
    await page.goto(`${api.url}/#/tenants/${tenantId}`);
    const sums = page.getByRole('region', { name: 'Spend by day' });
    await sums.getByText(/\$0\.\d+ was saved by caches\./).waitFor();
    const byModel = page.getByRole('region', { name: 'Spend by model' });
    await byModel.getByRole('columnheader', { name: 'Saved by caches' }).waitFor();
    expect(await byModel.locator('td[data-name="Saved by caches"] .number').getAttribute('title')).toBe(`$${saved}`);
    await page.waitForTimeout(300);
    await picture(page, 'caches-tenant');
    await page.setViewportSize({ width: 390, height: 900 });
    await page.waitForTimeout(200);
    expect(await page.evaluate('document.documentElement.scrollWidth - window.innerWidth')).toBeLessThanOrEqual(0);
    expect(complaints).toEqual([]);
  });

  test('XE8: a refused step takes no time, however long one looks at it', async () => {
    const tenantId = await stack.tenant('0.01');
    const file = { name: 'data.csv', content: 'a\n1\n' };
    const { runId } = await stack.run({ tenantId, task: 'Profile this file.', file });
    await signIn(adminKey, `#/tenants/${tenantId}/runs/${runId}`);
    const denied = page.locator('tr.denied .bar').first();
    await denied.waitFor();
    const share = () =>
      denied.evaluate((bar) =>
        parseFloat((bar as unknown as { style: { width: string } }).style.width.replace(/.*?([\d.]+)%.*/, '$1')),
      );
    expect(await share()).toBeLessThan(5);
    await page.waitForTimeout(4_000);
    expect(await share()).toBeLessThan(5);
  });

  test('leads from a denial of a workflow of one’s own to Temporal UI, and says of what role the key is', async () => {
    const tenantId = await stack.tenant('1');
    for (const amountUsd of ['0.40', '2'])
      await post('/v1/reservations', { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd });
    const section = (name: string) => page.getByRole('region', { name });
    const { key } = await createApiKey(stack.pool, { tenantId, role: 'reader' });
    await signIn(key);
    await page.getByText(`reader of ${tenantId}`).waitFor();
    await section('Denials').getByText('from outside').waitFor();
    await stack.admin.query(
      `UPDATE copilot_internal.reservations SET trace_context = '{"workflowId": "geocode/42"}' WHERE tenant_id = $1`,
      [tenantId],
    );
    await page.reload();
    for (const name of ['Denials', 'Money held now']) {
      const link = await section(name).getByRole('link', { name: 'geocode/42' }).getAttribute('href');
      expect(link).toContain('/workflows/geocode%2F42');
    }
  });

  test('XE7: marks a step that cost more than was granted', async () => {
    const tenantId = await stack.tenant('10');
    stack.anthropic.knobs.usage = { output_tokens: 1_000_000 };
    const { runId } = await stack.run({ tenantId, task: 'What is 2 + 2?' });
    stack.anthropic.knobs.usage = undefined;
    await signIn(adminKey, `#/tenants/${tenantId}/runs/${runId}`);
    const steps = page.getByRole('region', { name: 'Steps' });
    await steps.getByText('llm.call #1').waitFor();
    await steps.getByText(/^\$4\.\d+ over$/).waitFor();
  });

  test('shows what a run may cost, with what it belongs to and what belongs to it', async () => {
    const tenantId = await stack.tenant('10');
    const [runId, parentId] = [randomUUID(), randomUUID()];
    await stack.admin.query(
      `WITH run AS (
         INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, status, options)
         VALUES ($2, $1, 'run/tree', 'claude-haiku-4-5', 'x', 'running', '{}'))
       INSERT INTO copilot_internal.run_limits (tenant_id, run_id, ancestor_ids, limit_usd, spent_usd, reserved_usd)
       VALUES ($1, $3, '{}', 1, 0.25, 0.5), ($1, $2, ARRAY[$3::uuid], NULL, 0.25, 0.5)`,
      [tenantId, runId, parentId],
    );
    await signIn(adminKey, `#/tenants/${tenantId}/runs/${runId}`);
    const rows = page.getByRole('region', { name: 'Limits of runs' }).getByRole('row');
    await rows.nth(2).waitFor();
    expect(await rows.nth(1).textContent()).toBe(`${parentId.slice(0, 8)}$0.25$0.50$0.25$1.00`);
    expect(await rows.nth(2).textContent()).toBe(`${runId.slice(0, 8)} this run$0.25$0.50–none of its own`);
    await picture(page, 'run-tree');
  });

  test('XE2: says who is frozen, and why', async () => {
    const tenantId = await stack.tenant('10');
    await post(`/v1/tenants/${tenantId}/freeze`, { userId: 'ada', reason: 'suspected leak' });
    await post(`/v1/tenants/${tenantId}/freeze`, { reason: 'invoice overdue' });
    await signIn(adminKey, `#/tenants/${tenantId}`);
    await page.getByRole('alert').filter({ hasText: 'Frozen: invoice overdue' }).waitFor();
    await page.getByRole('alert').filter({ hasText: 'Frozen users: ada (suspected leak)' }).waitFor();
  });

  test('XE8: leads to older runs', async () => {
    const tenantId = await stack.tenant('10');
    await stack.admin.query(
      `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, status, options, created_at, ended_at)
       SELECT gen_random_uuid(), $1, 'run/old-' || n, 'claude-haiku-4-5', 'x', 'completed', '{}', now() - make_interval(mins => n), now()
       FROM generate_series(1, 70) AS n`,
      [tenantId],
    );
    await signIn(adminKey, `#/tenants/${tenantId}`);
    const runs = page.getByRole('region', { name: 'Runs and conversations' });
    await runs.getByRole('button', { name: 'Show the latest 50' }).click();
    await runs.getByRole('button', { name: 'Show older' }).click();
    await runs.getByRole('row').nth(70).waitFor();
    expect(await runs.getByRole('row').count()).toBe(71);
    expect(await runs.getByRole('button', { name: 'Show older' }).count()).toBe(0);
  });

  test('XE8: says what is unverified', async () => {
    await signIn(adminKey, `#/tenants/${scene.tenantId}`);
    expect(await page.getByRole('region', { name: 'Spend by day' }).textContent()).toContain('unverified');
  });

  test('XE8: names each page', async () => {
    await signIn(adminKey, `#/tenants/${scene.tenantId}`);
    await page.getByRole('region', { name: 'Quotas' }).waitFor();
    expect(await page.title()).toBe(`${scene.tenantId} · Spendlock`);
    await page.goto(`${api.url}/#/tenants/${scene.tenantId}/runs/${scene.runId}`);
    await page.getByRole('region', { name: 'Steps' }).waitFor();
    expect(await page.title()).toBe(`Run ${scene.runId.slice(0, 8)} · ${scene.tenantId} · Spendlock`);
    await page.goto(`${api.url}/#/`);
    await page.getByRole('heading', { name: 'Tenants' }).waitFor();
    expect(await page.title()).toBe('Tenants · Spendlock');
  });

  test('XE8: shows the shortcuts by a button that is called so, and Escape closes them', async () => {
    await signIn(adminKey);
    await page.getByRole('button', { name: 'Shortcuts' }).click();
    await page.getByLabel('Shortcuts').waitFor();
    await page.keyboard.press('Escape');
    await page.getByLabel('Shortcuts').waitFor({ state: 'detached' });
  });

  test('shows a tenant’s key that tenant and no other', async () => {
    const { key } = await createApiKey(stack.pool, { tenantId: scene.calmTenantId });
    await signIn(key, `#/tenants/${scene.tenantId}`);
    await page.getByRole('heading', { level: 1, name: scene.calmTenantId }).waitFor();
    expect(await page.content()).not.toContain(scene.deniedUser);
    await page.goto(`${api.url}/#/tenants/${scene.tenantId}/runs/${scene.runId}`);
    await page.getByRole('alert').filter({ hasText: 'another tenant' }).waitFor();
  });

  test('is readable in the dark, on a narrow screen, and chooses by itself until told', async () => {
    await page.emulateMedia({ colorScheme: 'dark' });
    await signIn(adminKey, `#/tenants/${scene.tenantId}`);
    await page.getByRole('region', { name: 'Quotas' }).waitFor();
    const ground = () => page.evaluate('getComputedStyle(document.body).backgroundColor');
    const dark = await ground();
    await page.waitForTimeout(300);
    await picture(page, 'tenant-dark');
    await page.keyboard.press('d');
    expect(await ground()).not.toBe(dark);
    await page.keyboard.press('d');
    expect(await ground()).toBe(dark);
    await page.setViewportSize({ width: 800, height: 900 });
    const outOfSight = await page.evaluate(
      `(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector('section[aria-label="Quotas"] .scroll'))`,
    );
    expect(outOfSight).toBeLessThanOrEqual(0);
    await page.setViewportSize({ width: 390, height: 900 });
    await page.waitForTimeout(200);
    const overflow = await page.evaluate('document.documentElement.scrollWidth - window.innerWidth');
    expect(overflow).toBeLessThanOrEqual(0);
    // XE8: no figure is cut off, in any table.
    const cutOff = (): Promise<unknown> =>
      page.evaluate(
        `[...document.querySelectorAll('td .number, td time')].filter((one) => {
           const { left, right, width } = one.getBoundingClientRect();
           return width > 0 && (left < 0 || right > window.innerWidth);
         }).map((one) => one.textContent)`,
      );
    expect(await cutOff()).toEqual([]);
    await picture(page, 'tenant-narrow');
    await page.goto(`${api.url}/#/tenants/${scene.tenantId}/runs/${scene.runId}`);
    await page.getByRole('region', { name: 'Steps' }).getByText('llm.call #1').waitFor();
    expect(await cutOff()).toEqual([]);
    await picture(page, 'run-narrow');
  });

  test('asks nobody but its API, keeps its key out of addresses, and forgets it on leaving', async () => {
    await signIn(adminKey, `#/tenants/${scene.tenantId}`);
    await page.getByRole('region', { name: 'Quotas' }).waitFor();
    expect(asked.filter((url) => !url.startsWith(`${api.url}/`))).toEqual([]);
    expect(asked.filter((url) => url.includes(adminKey))).toEqual([]);
    await page.reload();
    await page.getByRole('region', { name: 'Quotas' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('API key').waitFor();
    await page.reload();
    await page.getByLabel('API key').waitFor();
    expect(await page.evaluate('JSON.stringify([{ ...sessionStorage }, { ...localStorage }])')).not.toContain('slk_');
  });

  test('XE9: shows the administration what binds all tenants together, and no tenant its part of it', async () => {
    const tenantId = await stack.tenant('10');
    const quotas = [{ resourceType: 'all', period: 'month', limitUsd: '12345' }];
    await api.call('PUT', '/v1/platform/quotas', { body: { quotas } });
    const body = { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd: '2' };
    expect((await post('/v1/reservations', body)).status).toBe(201);
    await signIn(adminKey);
    const platform = page.getByRole('region', { name: 'All tenants together' });
    await platform.getByText('platform · all · month').waitFor();
    await platform.getByText('$12,345.00').waitFor();
    await page.goto(`${api.url}/#/tenants/${tenantId}`);
    const own = page.getByRole('region', { name: 'Quotas' });
    await own.getByText('tenant · all · month').waitFor();
    expect(await own.textContent()).not.toContain('platform');
  });
});
