/** examples/temporal-agent in a project of somebody else's, with the packed package: an agent budgeted by two lines (O1, O2). */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { withInstallation, type Installation } from '../support/installation';
import { PackedPackage, type Project } from '../support/package-project';
import { settledBooks } from '../support/proxy';

const example = path.join(__dirname, '..', '..', 'examples', 'temporal-agent');
const tsx = path.join(__dirname, '..', '..', 'node_modules', 'tsx', 'dist', 'loader.mjs');
const beside = ['@temporalio/worker', '@temporalio/ai-sdk', '@ai-sdk/anthropic', 'ai', 'zod'];

let installation: Installation;
let spendlock: PackedPackage;
let project: Project;
withInstallation((made) => (installation = made));
beforeAll(async () => {
  spendlock = await PackedPackage.make();
  project = await spendlock.strictProject([...spendlock.peers, ...beside]);
  const sources = readdirSync(example).filter((file) => file.endsWith('.ts'));
  for (const file of sources) project.write(file, readFileSync(path.join(example, file), 'utf8'));
  await project.compile(sources, { resolution: 'bundler' });
});
afterAll(() => spendlock.remove());

async function run(limitUsd: string): Promise<{ said: string; tenantId: string }> {
  const { stack, api } = installation;
  const tenantId = await stack.tenant(limitUsd);
  const { status, stdout, stderr } = await project.end(process.execPath, ['--import', tsx, 'main.ts'], {
    ...{ SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: await api.keyOf(tenantId, 'agent') },
    TEMPORAL_ADDRESS: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '',
    ...{ ANTHROPIC_API_KEY: 'stand-in', ANTHROPIC_BASE_URL: `${stack.anthropic.url}/v1` },
  });
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
  return { said: stdout.trim(), tenantId };
}

test('answers, and costs what its calls and its lookup cost', async () => {
  const { stack } = installation;
  Object.assign(stack.anthropic.knobs, {
    usage: { input_tokens: 1_000, output_tokens: 200 },
    replies: [{ text: '', tools: [{ name: 'weather', input: { city: 'Oslo' } }] }, { text: 'It rains in Oslo.' }],
  });
  const { said, tenantId } = await run('1');
  expect(said).toBe('It rains in Oslo.');
  expect(await settledBooks(stack, tenantId)).toMatchObject({ ledgerUsd: '0.006', reservedUsd: '0' });
});

test('says so where there is no money', async () => {
  const { said } = await run('0.001');
  expect(said).toBe('There is no money left for this: tenant limit of $0.001.');
});
