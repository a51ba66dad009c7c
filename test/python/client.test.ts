/** What docs/python.md shows runs: a client that is generated from the API's OpenAPI document, and paid calls with httpx alone (XE12). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestApi } from '../support/api';
import { Geocoder } from '../support/geocoder';
import { withInstallation } from '../support/installation';
import { Project } from '../support/package-project';
import { preparedPython } from '../support/python';
import { type TestStack, until } from '../support/stack';

const page = readFileSync(path.join(__dirname, '..', '..', 'docs', 'python.md'), 'utf8');
const textOf = (name: string): string => readFileSync(path.join(__dirname, name), 'utf8');
const programs = ['paid.py', 'agent.py', 'program.py'].map((name) => ({ name, text: textOf(name) }));
/** What the page shows in a language. */
const shown = (language: string): string[] =>
  Array.from(page.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, 'g')), ([, text = '']) => text);
const commands = shown('sh').join('');
const [generate = ''] = /^openapi-python-client generate (.*\\\n)*.*$/m.exec(commands) ?? [];
const timeoutMs = 120_000;

describe('docs/python.md', () => {
  test('shows the programs that run here, and the generator that made their client', () => {
    expect(shown('python')).toEqual(programs.map(({ text }) => text));
    const [, installed = ''] = /^pip install (\S+)$/m.exec(commands) ?? [];
    const pinned = textOf('requirements.txt').split('\n');
    expect(pinned).toContain(installed);
  });
});

const geocoder = new Geocoder();

describe('programs of Python', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));
  let project: Project;
  let binaries: string;
  const environment = (key: string) => ({
    PATH: `${binaries}:${process.env.PATH ?? ''}`,
    SPENDLOCK_API_URL: api.url,
    SPENDLOCK_API_KEY: key,
    GEOCODER_URL: geocoder.url,
  });
  const run = (command: string, key = '') => project.end('sh', ['-c', command], environment(key));

  beforeAll(async () => {
    binaries = await preparedPython();
    await geocoder.listen();
    project = new Project(mkdtempSync(path.join(realpathSync(tmpdir()), 'spendlock-python-')));
    project.write('spendlock.yml', shown('yaml').join(''));
    for (const { name, text } of programs) project.write(name, text);
    project.write('crowd.py', textOf('crowd.py'));
    // A warning is something that the client does not have.
    expect(await run(generate)).toMatchObject({ status: 0, stderr: '' });
  }, timeoutMs);
  afterAll(() => {
    geocoder.close();
    rmSync(project.folder, { recursive: true, force: true });
  });
  beforeEach(() => Object.assign(geocoder, { calls: 0, hangs: false, refuses: false }));

  test.each([
    ['waiting does not help', '5', String.raw`\$4\.9\d+ left of \$5; waiting does not help`],
    ['waiting helps', '1000', String.raw`\$999\.9\d+ left of \$1000; try again in \d+ s`],
  ])(
    'XE12: runs the README’s example, reads a list page by page, and is denied where %s',
    async (_where, limitUsd, denial) => {
      const tenantId = await stack.tenant(limitUsd);
      const { stdout, ...ended } = await run('python program.py', await api.keyOf(tenantId, 'agent'));
      expect(ended).toEqual({ status: 0, stderr: '' });
      expect(stdout).toMatch(/^Note: this is a stand-in for a model's API\./);
      expect(stdout).toContain('The task is done.\nThe file has 2 rows and 2 columns.\n');
      const messages = ['user: text', 'assistant: text, tool_use', 'user: tool_result', 'assistant: text'];
      expect(stdout).toContain(`${messages.join('\n')}\nIts transcript has 2 pages.\nIt was 29 characters long.\n`);
      expect(stdout).toMatch(new RegExp(String.raw`\nDenied by the tenant quota: ${denial}\.\n$`));
      const call = await until('the paid call is in the ledger', async () => {
        const { body } = await api.call('GET', `/v1/cost-records?tenantId=${tenantId}&kind=external.call`);
        return (body.records as object[])[0];
      });
      expect(call).toMatchObject({ amountUsd: '0.002', settlement: 'actual' });
    },
    timeoutMs,
  );

  test(
    'XE12: has what is refused as a model: a denial where there is no money, else an error',
    async () => {
      const refused = async (key: string): Promise<string> => {
        const { status, stdout, stderr } = await run('python program.py', key);
        expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
        return stderr;
      };
      const poor = await stack.tenant('0');
      expect(await refused(await api.keyOf(poor, 'agent'))).toMatch(/^quota_exceeded: The \w+ quota of tenant /);
      expect(await refused(await api.keyOf(poor, 'reader'))).toMatch(/^forbidden: This needs a key of the role /);
      expect(await refused('nobody')).toMatch(/^unauthorized: /);
    },
    timeoutMs,
  );

  const ledger = async (tenantId: string) =>
    (await api.call('GET', `/v1/cost-records?tenantId=${tenantId}`)).body.records as Record<string, unknown>[];

  test(
    'a program that is killed in the middle of a paid call makes none again under that operation, and says so',
    async () => {
      const tenantId = await stack.tenant('5');
      const key = await api.keyOf(tenantId, 'agent');
      geocoder.hangs = true;
      const killed = spawn('python', ['agent.py', 'London'], { cwd: project.folder, env: environment(key) });
      await until('the call is being made', () => Promise.resolve(geocoder.calls === 1 || undefined));
      killed.kill('SIGKILL');
      await once(killed, 'exit');
      geocoder.hangs = false;
      const again = await run('python agent.py London', key);
      expect(again).toMatchObject({ status: 1, stdout: '' });
      expect(again.stderr).toMatch(/^claim_refused: .* This program was here before: ask the geocoder about /);
      expect(geocoder.calls).toBe(1);
      // Whoever has looked at the other side begins anew.
      expect(await run('rm step.txt && python agent.py London', key)).toMatchObject({
        status: 0,
        stdout: '51.5, -0.1\n',
      });
      const made = await until('the call is in the ledger', async () => (await ledger(tenantId))[0]);
      expect(made).toMatchObject({ amountUsd: '0.004', kind: 'geocode', userId: 'ada', settlement: 'actual' });
    },
    timeoutMs,
  );

  test(
    'a call that was surely not billed gives its money back, and one without money is not made',
    async () => {
      const tenantId = await stack.tenant('0.015');
      const key = await api.keyOf(tenantId, 'agent');
      geocoder.refuses = true;
      for (const attempt of ['a first', 'a second']) {
        const { status, stderr } = await run('python agent.py London', key);
        expect({ attempt, status, stderr }).toMatchObject({
          status: 1,
          stderr: 'The geocoder found nothing: too many\n',
        });
      }
      geocoder.refuses = false;
      expect(await run('python agent.py London', key)).toMatchObject({ status: 0 });
      expect(await run('python agent.py London && python agent.py London', key)).toMatchObject({
        status: 1,
        stdout: '51.5, -0.1\n',
        stderr: expect.stringMatching(/^quota_exceeded: .* \$0\.01 was asked for/) as string,
      });
      expect(geocoder.calls).toBe(4);
    },
    timeoutMs,
  );

  test(
    'ten threads that share a dollar spend no more than it, and usage says whose it was',
    async () => {
      const tenantId = await stack.tenant('1');
      const ended = await run('python crowd.py', await api.keyOf(tenantId, 'agent'));
      expect(ended).toEqual({ status: 0, stdout: '33 7\n', stderr: '' });
      const usage = await until('the calls are in the ledger', async () => {
        const { body } = await api.call('GET', `/v1/usage?tenantId=${tenantId}&groupBy=user`);
        return body.costUsd === '0.99' ? body : undefined;
      });
      const users = (usage.lines as { group: string }[]).map(({ group }) => group);
      expect(users.sort()).toEqual(['user0', 'user1', 'user2', 'user3']);
    },
    timeoutMs,
  );

  test('amounts are written out as the API takes them', async () => {
    const amounts = "Decimal('0.00000025'), Decimal('1E-13'), Decimal('1E+2'), Decimal('0.1') + Decimal('0.2')";
    const ended = await run(`python -c "from paid import *; print([usd(a) for a in (${amounts})])"`, 'none');
    expect(ended).toMatchObject({
      status: 0,
      stdout: "['0.000000250000', '0.000000000001', '100.000000000000', '0.300000000000']\n",
    });
  });
});
