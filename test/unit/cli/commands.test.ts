/** Every command, without a server: what its help says, what it takes, and what a terminal shows. */
import { execFileSync } from 'node:child_process';
import type { Command } from 'commander';
import { failureOf, exitStatusOf, CommandError } from '../../../cli/failures';
import { moment, whole } from '../../../cli/options';
import { quotaTable } from '../../../cli/limits';
import { table, usd } from '../../../cli/output';
import { program } from '../../../cli/program';
import { errorFrom } from '../../../client/errors';

const leaves = (command: Command, words: string[] = []): { words: string[]; command: Command }[] =>
  command.commands.length === 0
    ? [{ words, command }]
    : command.commands.flatMap((child) => leaves(child, [...words, child.name()]));

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (piece) => (text += piece) });
  command.outputHelp();
  return text;
}

/** The words after `npx spendlock` of each example, without what a shell does with them. */
const examplesOf = (help: string): string[][] =>
  [...help.matchAll(/npx spendlock (.*)/g)].map(([, line = '']) =>
    [...line.replace(/ {2,}#.*| [>|] .*|[)"]+"? > .*/, '').matchAll(/"([^"]*)"|(\S+)/g)].map(
      ([, quoted, plain]) => quoted ?? plain ?? '',
    ),
  );

const commands = leaves(program());

test('XE17: every command has a help with an example that it takes', async () => {
  expect(commands.length).toBeGreaterThan(45);
  const without = commands.filter(({ command }) => !/\nExamples?:\n {2}\S/.test(helpOf(command)));
  expect(without.map(({ words }) => words.join(' '))).toEqual([]);
  for (const { words, command } of commands) {
    const examples = examplesOf(helpOf(command).split(/\nExamples?:\n/)[1] ?? '').filter(
      ([first]) => first === words[0],
    );
    expect([words, examples.length > 0]).toEqual([words, true]);
    for (const example of examples) {
      const fresh = program();
      let ran: string | undefined;
      for (const one of leaves(fresh)) one.command.action(() => void (ran = one.words.join(' ')));
      await fresh.parseAsync(example, { from: 'user' });
      expect(ran).toBe(words.join(' '));
    }
  }
});

test('XE17: a mistyped command or option is told with what was meant', async () => {
  for (const [words, meant] of [
    [['rnus', 'list'], 'runs'],
    [['runs', 'lst', 'acme'], 'list'],
    [['runs', 'list', 'acme', '--stauts', 'x'], '--status'],
  ] as const) {
    const root = program();
    const silent = (command: Command): void => {
      command.configureOutput({ writeErr: () => undefined });
      command.commands.forEach(silent);
    };
    silent(root);
    await expect(root.parseAsync(words, { from: 'user' })).rejects.toThrow(`(Did you mean ${meant}?)`);
  }
});

test('XE6: numbers and moments that are none are refused with what they must be', () => {
  const limit = whole(1, 500);
  for (const text of ['0', '501', '-1', '1.5', '1e2', 'ten', '', ' 5'])
    expect(() => limit(text)).toThrow('from 1 to 500');
  expect(limit('500')).toBe(500);
  for (const text of ['5', 'tomorrow', '2026-02-31', '2026-13-01', '2026-12-01T25:00', '01.12.2026', ''])
    expect(() => moment(text)).toThrow('2026-12-01T08:00:00Z');
  expect(moment('2026-12-01')).toBe('2026-12-01T00:00:00.000Z');
  expect(moment('2026-12-01T08:00')).toBe('2026-12-01T08:00:00.000Z');
  expect(moment('2026-12-01T08:00:00Z')).toBe('2026-12-01T08:00:00.000Z');
  expect(moment('2026-12-01T08:00:00+02:00')).toBe('2026-12-01T06:00:00.000Z');
});

test('XE17: failures have one shape and exit statuses that say what kind they are', () => {
  const denied = errorFrom(429, { error: 'quota_exceeded', message: 'No.', action: 'Wait.', retryAfter: 5 });
  expect(failureOf(denied)).toEqual({ code: 'quota_exceeded', message: 'No.', action: 'Wait.', retryAfter: 5 });
  expect(exitStatusOf(failureOf(denied))).toBe(3);
  expect(exitStatusOf(failureOf(errorFrom(400, { error: 'invalid_amount', message: 'No.' })))).toBe(2);
  expect(exitStatusOf(failureOf(errorFrom(404, { error: 'unknown_tenant', message: 'No.' })))).toBe(1);
  expect(failureOf(new CommandError('No.'))).toEqual({ code: 'refused', message: 'No.' });
});

test('a price of a fraction of a micro-dollar is shown in full', () => {
  expect([usd('0.0000045'), usd('12.5'), usd('0'), usd('-0.0000045'), usd('1.23456789')]).toEqual([
    '$0.0000045',
    '$12.50',
    '$0.00',
    '-$0.0000045',
    '$1.234568',
  ]);
});

const id = '0b7a3b8d-2a8e-4b8e-8f0e-0d6d9a1f9c11';
test('XE17: amounts are whole in 80 columns: half of one is another amount', () => {
  const amounts = [
    { limitUsd: '150', topupUsd: '26', spentUsd: '0.056784', reservedUsd: '0.0075', remainingUsd: '175.935716' },
    { limitUsd: '12500', topupUsd: '0', spentUsd: '9123.456789', reservedUsd: '0', remainingUsd: '3376.543211' },
  ];
  const quotas = amounts.map((amount) => ({
    ...amount,
    ...{ scope: 'tenant' as const, scopeId: 'acme', resourceType: 'all' as const, period: 'month' as const },
    ...{ warningThreshold: 0.8, moreWarningThresholds: [], resetsAt: '2026-12-01T00:00:00.000Z' },
  }));
  const shown = quotaTable(quotas, 80);
  expect(Math.max(...shown.split('\n').map((line) => [...line].length))).toBeLessThanOrEqual(80);
  for (const amount of ['$150.00 + $26.00', '$0.056784', '$175.935716', '$9123.456789', '$3376.543211', 'remaining'])
    expect(shown).toContain(amount);
});

test('XE17: a table fits 80 columns with its ids whole, and is never cut where no terminal is', () => {
  const columns = [
    { name: 'run', of: () => id },
    { name: 'user', of: () => 'somebody.with.a.long.name@example.com', extra: true },
    { name: 'status', of: () => 'quota_exceeded' },
    { name: 'why', of: () => 'a reason that goes on for longer than a line of a terminal has room for, by far' },
  ];
  const narrow = table(columns, [1, 2], 'none', 80);
  expect(Math.max(...narrow.split('\n').map((line) => [...line].length))).toBeLessThanOrEqual(80);
  expect(narrow).toContain(id);
  expect(narrow).not.toContain('user');
  expect(table(columns, [1], 'none', undefined)).toContain('somebody.with.a.long.name@example.com');
  expect(
    Math.max(
      ...table(columns, [1], 'none', 20)
        .split('\n')
        .map((line) => [...line].length),
    ),
  ).toBeLessThan(40);
});

test('bash completes commands, aliases, options and their choices', async () => {
  let script = '';
  const write = jest.spyOn(process.stdout, 'write').mockImplementation((text) => ((script += String(text)), true));
  await program().parseAsync(['completion', 'bash'], { from: 'user' });
  write.mockRestore();
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
  expect(complete('spendlock', 'runs', 'start', 'acme', '--f')).toBe('--file --follow');
  expect(complete('spendlock', 'budget', 'set', 'acme', '--period', '')).toBe('day week month lifetime');
  expect(complete('spendlock', 'tenants', 'delete', 'acme', '--ex')).toBe('--export');
});
