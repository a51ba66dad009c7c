/** The reference of the API, as a person reads it and tries a request, in a real Chromium. */
import type { Browser } from 'playwright-core';
import { startTestApi, type TestApi } from '../support/api';
import { picture, startBrowser } from '../support/browser';
import { TestStack } from '../support/stack';

describe('the reference of the API', () => {
  let stack: TestStack;
  let api: TestApi;
  let browser: Browser;
  let tenantId: string;
  beforeAll(async () => {
    [stack, browser] = await Promise.all([TestStack.start({ worker: false }), startBrowser()]);
    api = await startTestApi(stack);
    tenantId = await stack.tenant('5');
  });
  afterAll(async () => {
    await browser.close();
    await api.close();
    await stack.stop();
  });

  for (const { name, width, colorScheme } of [
    { name: 'wide', width: 1280, colorScheme: 'light' },
    { name: 'in the dark', width: 1280, colorScheme: 'dark' },
    { name: 'on a phone', width: 390, colorScheme: 'light' },
  ] as const)
    test(`XE12: shows an operation ${name}, and asks nobody else for anything`, async () => {
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
      const page = await context.newPage();
      const [asked, complaints]: [string[], string[]] = [[], []];
      page.on('request', (request) => asked.push(request.url()));
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(String(error)));
      await page.goto(`${api.url}/docs`);
      await page.getByText('Agent runs that cannot overspend.').waitFor();
      await picture(page, `reference-${name}`, { fullPage: false });
      const seen = (text: string) => page.getByText(text).locator('visible=true').first();
      if (width > 800) await seen('Authentication').click();
      await page.getByPlaceholder('api-token').fill(api.adminKey);
      await page.getByRole('button', { name: 'Set' }).click();
      await seen('List tenants').click();
      await page.getByRole('button', { name: 'Execute' }).locator('visible=true').first().click();
      await seen(tenantId).waitFor();
      await picture(page, `reference-operation-${name}`, { fullPage: false });
      expect(asked.filter((url) => url.includes(api.adminKey))).toEqual([]);
      expect(complaints).toEqual([]);
      expect(asked.filter((url) => !url.startsWith(`${api.url}/`) && !url.startsWith('data:'))).toEqual([]);
      await context.close();
    });
});
