/** A client of Python that is generated from the API's OpenAPI document runs the README's example (XE12), as docs/python.md says. */
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { Project } from '../support/package-project';
import { preparedPython } from '../support/python';
import { type TestStack, until } from '../support/stack';

const page = readFileSync(path.join(__dirname, '..', '..', 'docs', 'python.md'), 'utf8');
const program = readFileSync(path.join(__dirname, 'program.py'), 'utf8');
/** What the page shows in a language. */
const shown = (language: string): string => new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? '';
const [generate = ''] = /^openapi-python-client generate (.*\\\n)*.*$/m.exec(shown('sh')) ?? [];
const timeoutMs = 120_000;

describe('docs/python.md', () => {
  test('shows the program that runs here, and the generator that made its client', () => {
    expect(shown('python')).toBe(program);
    const [, installed = ''] = /^pip install (\S+)$/m.exec(shown('sh')) ?? [];
    const pinned = readFileSync(path.join(__dirname, 'requirements.txt'), 'utf8').split('\n');
    expect(pinned).toContain(installed);
  });
});

describe('a client of Python that is generated from the OpenAPI document', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));
  let project: Project;
  let programs: string;
  const run = (command: string, key = '') =>
    project.end('sh', ['-c', command], {
      PATH: `${programs}:${process.env.PATH ?? ''}`,
      SPENDLOCK_API_URL: api.url,
      SPENDLOCK_API_KEY: key,
    });

  beforeAll(async () => {
    programs = await preparedPython();
    project = new Project(mkdtempSync(path.join(realpathSync(tmpdir()), 'spendlock-python-')));
    project.write('spendlock.yml', shown('yaml'));
    project.write('program.py', program);
    // A warning is something that the client does not have.
    expect(await run(generate)).toMatchObject({ status: 0, stderr: '' });
  }, timeoutMs);
  afterAll(() => rmSync(project.folder, { recursive: true, force: true }));

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
});
