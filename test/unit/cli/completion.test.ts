/** What completes a command line in a shell. Bash is at hand wherever this runs; what fish asks is held against what bash is answered. */
import { execFileSync } from 'node:child_process';
import { program } from '../../../cli/program';

async function scriptFor(shell: 'bash' | 'zsh' | 'fish'): Promise<string> {
  let script = '';
  const write = jest.spyOn(process.stdout, 'write').mockImplementation((text) => ((script += String(text)), true));
  await program().parseAsync(['completion', shell], { from: 'user' });
  write.mockRestore();
  return script;
}

test('bash completes commands, aliases, options and their choices', async () => {
  const script = await scriptFor('bash');
  const complete = (...words: string[]): string =>
    execFileSync(
      'bash',
      [
        '-c',
        `${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _spendlock; echo "\${COMPREPLY[@]}"`,
        'bash',
        ...words,
      ],
      { encoding: 'utf8' },
    ).trim();
  expect(complete('spendlock', 'ru')).toBe('runs');
  expect(complete('spendlock', 'runs', 'st')).toBe('start');
  expect(complete('spendlock', 'runs', 'start', 'acme', '--f')).toBe('--file --follow --fallback-model');
  expect(complete('spendlock', 'budget', 'set', 'acme', '--period', '')).toBe('day week month lifetime');
  expect(complete('spendlock', 'tenants', 'delete', 'acme', '--ex')).toBe('--export');
});

/** Of a script, what follows the words of each command, and what an option may be. */
const answersOf = (script: string, each: RegExp): [string, string][] =>
  [...script.matchAll(each)].map(([, words = '', found = '']) => [words, found]);

test('zsh and fish answer what bash answers, at every place', async () => {
  const [bash, zsh, fish] = [await scriptFor('bash'), await scriptFor('zsh'), await scriptFor('fish')];
  const cases = /^ +'(.*)'\) echo '(.*)' ;;$/gm;
  const answers = answersOf(bash, cases);
  expect(answers.length).toBeGreaterThan(80);
  expect(answers).toContainEqual(['budget set --period', 'day week month lifetime']);
  expect(answersOf(zsh, cases)).toEqual(answers);
  expect(answersOf(fish, /^ +case '(.*)'\n +echo '(.*)'$/gm)).toEqual(answers);
});

test('the script of fish ends all that it begins, and offers files only where nothing else begins so', async () => {
  const lines = (await scriptFor('fish')).split('\n').map((line) => line.trim());
  const count = (...words: string[]): number => lines.filter((line) => words.includes(line.split(' ')[0] ?? '')).length;
  expect(count('end')).toBe(count('function', 'switch', 'for', 'if'));
  expect(lines).toContain("complete -c spendlock -f -a '(__spendlock_complete)'");
  expect(lines).toContain('__fish_complete_path $begun');
});
