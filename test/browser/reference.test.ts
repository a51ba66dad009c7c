/** The reference of the API, as a person reads it and tries a request, in a real Chromium. */
import type { Browser } from 'playwright-core';
import { startTestApi, type TestApi } from '../support/api';
import { picture, startBrowser } from '../support/browser';
import { TestStack } from '../support/stack';

/** How well a colour is read on another: 4.5 is what WCAG asks of text. */
function contrast(color: string, ground: string): number {
  const [darker = 0, lighter = 0] = [color, ground]
    .map((text) => {
      const [red = 0, green = 0, blue = 0] = (text.match(/\d+/g) ?? []).map((part) => {
        const share = Number(part) / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    })
    .sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

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
      const property = page.locator('.token.property').locator('visible=true').first();
      const color = await property.evaluate(
        (one) =>
          (globalThis as unknown as { getComputedStyle: (of: unknown) => { color: string } }).getComputedStyle(one)
            .color,
      );
      const ground = colorScheme === 'dark' ? 'rgb(20, 23, 29)' : 'rgb(255, 255, 255)';
      expect(contrast(color, ground)).toBeGreaterThan(4.5);
      expect(asked.filter((url) => url.includes(api.adminKey))).toEqual([]);
      expect(complaints).toEqual([]);
      expect(asked.filter((url) => !url.startsWith(`${api.url}/`) && !url.startsWith('data:'))).toEqual([]);
      await context.close();
    });
});
