/** What an encrypted installation looks like in Temporal UI: nothing to read without the codec server, all of it with. */
import { randomBytes } from 'node:crypto';
import type { Browser, Page } from 'playwright-core';
import { Client } from '@temporalio/client';
import { startCodecServer } from '../../temporal/encryption/codec-server';
import { dataConverterFrom } from '../../temporal/encryption/data-converter';
import { payloadKeysFrom } from '../../temporal/encryption/keys';
import { EncryptingCodec } from '../../temporal/encryption/payload-codec';
import { runWorkflowId } from '../../contracts/messages';
import { startTestApi, type TestApi } from '../support/api';
import { startBrowser } from '../support/browser';
import { TestStack, until } from '../support/stack';

describe('Temporal UI of an installation that encrypts payloads', () => {
  const environment = { SPENDLOCK_PAYLOAD_KEYS: `test:${randomBytes(32).toString('base64')}` };
  const ui = process.env.SPENDLOCK_TEST_TEMPORAL_UI ?? '';
  let stack: TestStack;
  let api: TestApi;
  let browser: Browser;
  let page: Page;
  let codecServer: Awaited<ReturnType<typeof startCodecServer>>;
  let runPage: string;

  beforeAll(async () => {
    [stack, browser] = await Promise.all([TestStack.start({ worker: false }), startBrowser()]);
    await stack.startWorker({ environment: { ...environment, SPENDLOCK_TEST_BUNDLE: '' } });
    const dataConverter = dataConverterFrom(environment);
    const keys = payloadKeysFrom(environment);
    if (!dataConverter || !keys) throw new Error('There are keys, and no converter.');
    api = await startTestApi(stack, {
      temporal: new Client({ connection: stack.temporal.connection, dataConverter }),
    });
    const codec = new EncryptingCodec(keys);
    codecServer = await startCodecServer({ codec, host: '127.0.0.1', port: 0, uiOrigins: [ui] });
    page = await (await browser.newContext({ viewport: { width: 1440, height: 1000 } })).newPage();

    const tenantId = await stack.tenant('5');
    const { runId } = await api.admin.runs.start({ tenantId, task: 'Say one.', userId: 'ada' });
    await until('it ended', async () => (await stack.show({ tenantId, runId })).endedAt !== null);
    const { runId: executionId } = await stack.temporal.workflow.getHandle(runWorkflowId(runId)).describe();
    runPage = `${ui}/namespaces/default/workflows/${encodeURIComponent(runWorkflowId(runId))}/${executionId}/timeline`;
  });
  afterAll(async () => {
    await browser.close();
    await codecServer.close();
    await api.close();
    await stack.stop();
  });

  test('shows ciphertext until it is told of the codec server, and what was meant from then on', async () => {
    await page.goto(runPage);
    const input = page.getByText('maxOutputTokens');
    await page.getByText('callModel').first().waitFor();
    expect(await input.count()).toBe(0);
    await page.getByRole('button', { name: 'Configure Codec Server' }).click();
    const dialog = page.getByRole('dialog', { name: 'Codec Server' });
    await dialog.getByText('Use my browser setting').click();
    await dialog.getByRole('textbox').fill(codecServer.url);
    await dialog.getByRole('button', { name: 'Apply' }).click();
    await page.reload();
    await input.first().waitFor();
    await page.getByText('"completed"').first().waitFor();
  });
});
