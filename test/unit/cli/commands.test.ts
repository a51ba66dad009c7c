/** Every command, without a server: what its help says, what it takes, and what a terminal shows. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { failureOf, exitStatusOf, CommandError } from '../../../cli/failures';
import { frozenWords, unfrozenWords } from '../../../cli/freezes';
import { Teller } from '../../../cli/happenings';
import { moment, momentAhead, whole, words } from '../../../cli/options';
import { quotaTable } from '../../../cli/limits';
import { table, usd } from '../../../cli/output';
import { program } from '../../../cli/program';
import { inputLines, inShort } from '../../../cli/programs';
import { entryColumns } from '../../../cli/records';
import { apiTarget, EnvironmentError } from '../../../cli/target';
import { createSpendlockClient } from '../../../client';
import { errorFrom } from '../../../client/errors';
import { stateOf } from '../../../client/states';
import { counted } from '../../../core/counted';
import { errorCatalogue } from '../../../core/errors';

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
    [...line.replace(/ {2,}#.*| [>|] .*|[)"]+"? > .*/, '').matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
      ([, quoted, alike, plain]) => quoted ?? alike ?? plain ?? '',
    ),
  );

const commands = leaves(program());
const sourcesIn = (folder: string): string[] =>
  readdirSync(path.join(__dirname, '..', '..', '..', folder))
    .filter((name) => /[.]tsx?$/.test(name))
    .map((name) => path.join(__dirname, '..', '..', '..', folder, name));
const allOf = (command: Command): Command[] => command.commands.flatMap((child) => [child, ...allOf(child)]);

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

test('a mistyped option is told before a required one that is missing, by every command that has one, and its help marks them', async () => {
  const withRequired = commands.filter(({ command }) => command.options.some(({ mandatory }) => mandatory));
  expect(withRequired.length).toBeGreaterThan(8);
  for (const { words, command } of withRequired) {
    const required = command.options.filter(({ mandatory }) => mandatory);
    const help = helpOf(command).replace(/\n {6,}/g, ' ');
    for (const { long } of required) {
      expect(help).toMatch(new RegExp(`${long} <.*\\(required\\)`));
      const [mistyped, root] = [`${String(long).slice(0, -2)}${String(long).slice(-1)}`, program()];
      for (const one of [root, ...allOf(root)]) one.configureOutput({ writeErr: () => undefined });
      const told = root.parseAsync([...words, 'acme', mistyped, 'x'], { from: 'user' });
      await expect(told).rejects.toThrow(`unknown option '${mistyped}'`);
      await expect(told).rejects.toThrow(`(Did you mean ${String(long)}?)`);
    }
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

test.each([
  ['90m', '2026-11-30T13:30:00.000Z'],
  ['2h', '2026-11-30T14:00:00.000Z'],
  ['7d', '2026-12-07T12:00:00.000Z'],
  ['2026-12-01', '2026-12-01T00:00:00.000Z'],
])('what expires at a moment or so long from now takes %s', (text, at) => {
  jest.useFakeTimers({ now: new Date('2026-11-30T12:00:00Z') });
  try {
    expect(momentAhead(text)).toBe(at);
  } finally {
    jest.useRealTimers();
  }
});

test.each(['0h', '2', '1.5h', '-2h', '2 h', '3w', 'h', 'soon', ''])(
  '%j is no moment, nor how long from now',
  (text) => {
    expect(() => momentAhead(text)).toThrow('such as 90m, 2h or 7d');
  },
);

test('XE17: failures have one shape and exit statuses that say what kind they are', () => {
  const denied = errorFrom(429, { error: 'quota_exceeded', message: 'No.', action: 'Wait.', retryAfter: 5 });
  expect(failureOf(denied)).toEqual({ code: 'quota_exceeded', message: 'No.', action: 'Wait.', retryAfter: 5 });
  expect(exitStatusOf(failureOf(denied))).toBe(3);
  expect(exitStatusOf(failureOf(errorFrom(400, { error: 'invalid_amount', message: 'No.' })))).toBe(2);
  expect(exitStatusOf(failureOf(errorFrom(404, { error: 'unknown_tenant', message: 'No.' })))).toBe(1);
  expect(failureOf(new CommandError('No.'))).toEqual({ code: 'refused', message: 'No.' });
});

test('what to do about a refusal is said in words of the command line, for every code of the catalogue', () => {
  for (const [code, { httpStatus, action }] of Object.entries(errorCatalogue)) {
    const told = String(failureOf(errorFrom(httpStatus, { error: code, message: 'No.', action })).action);
    expect([code, told]).toEqual([
      code,
      expect.not.stringMatching(/Bearer|\b(GET|POST|PUT) \/|Idempotency-Key|openapi|Content-Type/),
    ]);
  }
  const environment = { ...process.env };
  process.env.SPENDLOCK_API_URL = 'http://127.0.0.1:1';
  process.env.SPENDLOCK_API_KEY = 'wrong';
  jest.spyOn(console, 'error').mockImplementation(() => undefined);
  apiTarget(process.env);
  jest.restoreAllMocks();
  process.env = environment;
  const { action } = failureOf(errorFrom(401, { error: 'unauthorized', message: 'The API key is not known.' }));
  expect(action).toMatch(/^SPENDLOCK_API_KEY has no key of http:\/\/127.0.0.1:1/);
});

test('an address without http:// is told, with the one that was meant', () => {
  const target = (url: string) => () => apiTarget({ SPENDLOCK_API_URL: url, SPENDLOCK_API_KEY: 'a key' });
  expect(target('localhost:1234')).toThrow(
    '"localhost:1234", which is no address of an API: it begins with http:// or https://, such as http://localhost:1234.',
  );
  expect(target('api.example.com/spendlock')).toThrow('such as http://api.example.com/spendlock');
  for (const url of ['ftp://x', 'http://', 'http:localhost', 'http://a b'])
    expect(target(url)).toThrow('Nothing was done.');
});

test('an address with a password or a query in it is no address of an API, and what is secret in it is not repeated', () => {
  const target = (url: string) => () => apiTarget({ SPENDLOCK_API_URL: url, SPENDLOCK_API_KEY: 'a key' });
  for (const url of [
    'http://ada:hunter2@api.example.com',
    'ftp://ada:hunter2@x',
    'http://x/?token=hunter2',
    'x#hunter2',
    'http://x ',
  ]) {
    expect(target(url)).toThrow(EnvironmentError);
    expect(target(url)).toThrow('Nothing was done.');
    expect(target(url)).not.toThrow(/hunter2/);
  }
  expect(target('http://ada:hunter2@api.example.com')).toThrow('"http://…@api.example.com"');
});

test('a key that has other characters in it than keys have is a wrong use, and is not repeated', () => {
  for (const key of ['Made 1. The key:\nhunter2', 'ключ hunter2'])
    for (const use of [
      () => apiTarget({ SPENDLOCK_API_URL: 'http://127.0.0.1:1', SPENDLOCK_API_KEY: key }),
      () => createSpendlockClient({ baseUrl: 'http://127.0.0.1:1', apiKey: key }),
    ]) {
      expect(use).toThrow('is no API key');
      expect(use).not.toThrow(/hunter2/);
    }
});

test('a reason is words', () => {
  expect(() => words('--json')).toThrow('the words come first');
  for (const none of ['', '  ', 'x'.repeat(501)]) expect(() => words(none)).toThrow('It must be 1 to 500 characters');
  expect(words('on the bill')).toBe('on the bill');
});

test('a freeze is told of whom it is, with the command that lifts it, and one that changes nothing says so', () => {
  const frozen = { tenantId: 'acme', userId: 'ada' };
  expect(frozenWords(frozen, 'a leak', { reasonBefore: null })).toBe(
    'user ada of acme is frozen: a leak. To lift it: npx spendlock budget unfreeze acme --user ada',
  );
  expect(frozenWords({ tenantId: 'acme' }, 'b', { reasonBefore: 'a' })).toContain(
    'acme was frozen already (a); the reason is now: b.',
  );
  expect(frozenWords({ tenantId: 'acme' }, 'a', { reasonBefore: 'a' })).toContain('already, for the same reason');
  const none = { frozenReason: null, frozenUsers: [{ userId: "o'neil", reason: 'a leak' }] };
  expect(unfrozenWords({ tenantId: 'acme' }, { reasonBefore: null }, none)).toBe(
    `acme was not frozen; nothing was lifted.
user o'neil of acme is still frozen: a leak. To lift it: npx spendlock budget unfreeze acme --user 'o'\\''neil'`,
  );
  expect(unfrozenWords(frozen, { reasonBefore: 'a leak' }, { frozenReason: null, frozenUsers: [] })).toBe(
    'user ada of acme may reserve again.',
  );
  expect(unfrozenWords(frozen, { reasonBefore: 'a leak' }, { frozenReason: 'unpaid', frozenUsers: [] })).toBe(
    `user ada of acme is not frozen itself any more.
acme is frozen: unpaid. To lift it: npx spendlock budget unfreeze acme`,
  );
});

test('a program is shown line by line and whole, and in short it says how much more there is', () => {
  const code = `import x from 'y';\n\n${'console.log("a");\r\n'.repeat(200)}`;
  const lines = inputLines({ code, language: 'javascript' });
  expect(lines.slice(0, 5)).toEqual([
    'language: javascript',
    'code:',
    "  import x from 'y';",
    '  ',
    '  console.log("a");',
  ]);
  expect(lines).toHaveLength(204);
  expect(inputLines({ code: 'print(1)' })).toEqual(['  print(1)']);
  expect(inputLines({ path: '/a', content: 'b\n', amountUsd: '5', more: { a: [1] } })).toEqual([
    ...['path: /a', 'amountUsd: 5', 'more: {"a":[1]}', 'content:', '  b'],
  ]);
  expect(inputLines(['a'])).toEqual(['["a"]']);
  expect(inShort({ code })).toBe("import x from 'y'; (and 200 lines more)");
  expect(inShort({ code: 'x'.repeat(80) })).toBe(`${'x'.repeat(59)}…`);
  const said = jest.spyOn(console, 'error').mockImplementation(() => undefined);
  new Teller().tell({
    type: 'approval.requested',
    data: { kind: 'approval', tool: 'run_code', input: { code: 'a\n\u001bb' } },
  });
  expect(said.mock.calls).toEqual([['  · asks to use run_code\n      a\n      \\u001bb']]);
  said.mockRestore();
});

test('a conversation that has nothing to do is shown as waiting for a message', () => {
  expect(stateOf({ status: 'running', waitingFor: { kind: 'message' } })).toBe('waiting_for_message');
  expect(stateOf({ status: 'running', waitingFor: null })).toBe('running');
  expect(stateOf({ status: 'waiting_for_money', waitingFor: { kind: 'money' } })).toBe('waiting_for_money');
});

test('the audit shows the name that a sender gave and the key that proves it', () => {
  const entry = {
    auditEntryId: '1',
    tenantId: 'acme',
    action: 'freeze',
    details: {},
    createdAt: '2026-12-01T08:00:00.000Z',
  };
  const shown = table(
    entryColumns,
    [
      { ...entry, author: 'root', apiKeyId: id },
      { ...entry, author: `API key ${id}`, apiKeyId: id },
      { ...entry, author: 'a signal', apiKeyId: null },
    ],
    '',
    80,
  );
  expect(shown).toMatch(/root .*0b7a3b8d/);
  expect(shown).toMatch(/– .*0b7a3b8d/);
  expect(shown).toMatch(/a signal .*–/);
});

test('what is counted is one or many', () => {
  expect([counted(0, 'hold'), counted(1, 'hold'), counted(2, 'sandbox', 'sandboxes')]).toEqual([
    '0 holds',
    '1 hold',
    '2 sandboxes',
  ]);
  // No figure stands before a word in the plural by itself, but where it goes through the helper.
  const bare = [...sourcesIn('cli'), ...sourcesIn('dashboard')].flatMap((file) =>
    [
      ...readFileSync(file, 'utf8').matchAll(
        /\{(?!counted)[\w.]*(?:length|[cC]ount|open\.\w+|rows|bytes)\} (?:\w+s)\b/g,
      ),
    ].map(([found]) => `${file}: ${found}`),
  );
  expect(bare).toEqual([]);
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
    ...{ expiringTopups: [], warningThreshold: 0.8, moreWarningThresholds: [], resetsAt: '2026-12-01T00:00:00.000Z' },
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
