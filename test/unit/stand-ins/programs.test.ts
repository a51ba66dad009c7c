/** What the stand-ins make of the files that people have: the program that they write runs, and its output is put into words. */
import { scriptedReply } from '../../../scripts/stand-ins/script';
import type { ScriptMessage } from '../../../scripts/stand-ins/script-message';
import { SandboxFolder } from '../../../scripts/stand-ins/sandbox-process';

interface File {
  name: string;
  content: string | Buffer;
}

/** The first part of the answer about each file, as a conversation comes to it. One process runs all of the programs. */
async function profilesOf(files: readonly File[]): Promise<string[]> {
  const folder = new SandboxFolder();
  try {
    const asked = files.map(({ name, content }, index): ScriptMessage => {
      const file = `/home/user/${index}/${name}`;
      folder.write(file, Buffer.from(content));
      return { role: 'user', content: `Profile it.\n\nAttached file: ${file}` };
    });
    let output = '';
    let error = '';
    const programs = asked.map((task) => `{${scriptedReply([task]).code}}`);
    await folder.execute(programs.join('\n'), (event) => {
      if (event.type === 'stdout' || event.type === 'stderr') output += event.text;
      if (event.type === 'error') error = `${event.value}\n${event.traceback}`;
    });
    expect(error).toBe('');
    const lines = output.trim().split('\n');
    return asked.map((task, index) => {
      const result: ScriptMessage = { role: 'user', content: [{ type: 'tool_result', content: lines[index] }] };
      return scriptedReply([task, result]).text.split('\nProfiling a file')[0] ?? '';
    });
  } finally {
    folder.remove();
  }
}

const two = 'The file has 2 rows and 2 columns';
const people = '- city: text, 2 different, most often Ulm (1), Bonn (1)\n- people: number, 126 to 330, mean 228';

const tables: [what: string, name: string, content: string, profile: string][] = [
  ['commas', 'a.csv', 'city,people\nUlm,126\nBonn,330\n', `${two}.\n${people}`],
  ['no last line break', 'a.csv', 'city,people\nUlm,126\nBonn,330', `${two}.\n${people}`],
  ['semicolons', 'a.csv', 'city;people\nUlm;126\nBonn;330\n', `${two}, separated by semicolons.\n${people}`],
  ['tabs', 'a.tsv', 'city\tpeople\nUlm\t126\nBonn\t330\n', `${two}, separated by tabs.\n${people}`],
  ['bars', 'a.txt', 'city|people\nUlm|126\nBonn|330\n', `${two}, separated by bars.\n${people}`],
  [
    'a named separator',
    'a.csv',
    'sep=;\r\ncity;people\r\nUlm;126\r\nBonn;330\r\n',
    `${two}, separated by semicolons.\n${people}`,
  ],
  ['a mark of UTF-8', 'a.csv', '\ufeffcity,people\r\nUlm,126\r\nBonn,330\r\n', `${two}.\n${people}`],
  ['line breaks of old', 'a.csv', 'city,people\rUlm,126\rBonn,330\r', `${two}.\n${people}`],
  [
    'an array of JSON',
    'a.json',
    '[{"city":"Ulm","people":126},{"city":"Bonn","people":330}]',
    `${two}, JSON.\n${people}`,
  ],
  [
    'JSON around it',
    'a.json',
    '{"count":2,"of":[{"city":"Ulm","people":126},{"city":"Bonn","people":330}]}',
    `${two}, JSON.\n${people}`,
  ],
  [
    'lines of JSON',
    'a.jsonl',
    '{"city":"Ulm","people":126}\n{"city":"Bonn","people":330}\n',
    `${two}, JSON lines.\n${people}`,
  ],
  [
    'a name as files have them',
    'Ümsätze & mehr „2026“ (1).csv',
    'city,people\nUlm,126\nBonn,330\n',
    `${two}.\n${people}`,
  ],
];

const others: [what: string, content: string, profile: string][] = [
  [
    'quotes, with line breaks, commas and quotes in them',
    'note,n\n"a, ""b""\nand c",1\n"a, ""b""\nand c",2\n',
    `${two}.\n- note: text, 1 different, most often a, "b" and c (2)\n- n: number, 1 to 2, mean 1.5`,
  ],
  [
    'an inch sign in the middle of a cell',
    'size,n\n5" pipe,1\n6" pipe,2\n',
    `${two}.\n- size: text, 2 different, most often 5" pipe (1), 6" pipe (1)\n- n: number, 1 to 2, mean 1.5`,
  ],
  [
    'decimal commas',
    'city;eur\nUlm;1.234,50\nBonn;-0,5\n',
    `${two}, separated by semicolons.\n- city: text, 2 different, most often Ulm (1), Bonn (1)\n- eur: number, -0.5 to 1234.5, mean 617`,
  ],
  ['one column', 'n\n1\n2\n', 'The file has 2 rows and 1 column.\n- n: number, 1 to 2, mean 1.5'],
  ['a header alone', 'a,b\n', 'The file has 0 rows and 2 columns.\n- a: empty\n- b: empty'],
  [
    'columns without names, and rows of other lengths',
    ',b\nx\ny,2,3\nx,4\n',
    'The file has 3 rows and 2 columns.\n- column 1: text, 2 different, most often x (2), y (1)\n- b: number, 2 to 4, mean 3',
  ],
  [
    'words of the language as cells',
    '__proto__,constructor\ntoString,1\ntoString,2\n',
    `${two}.\n- __proto__: text, 1 different, most often toString (2)\n- constructor: number, 1 to 2, mean 1.5`,
  ],
  ['nothing at all', '', 'The file is empty.'],
  ['blanks', '\ufeff \r\n\r\n', 'The file is empty.'],
];

const noTables: [what: string, content: string | Buffer, beginning: string][] = [
  ['Latin-1', Buffer.from('city,people\nKöln,1\n', 'latin1'), 'most often Köln (1)'],
  [
    'prose',
    'Dear Ada,\n\nit rains. We stay, read, and wait.\nTomorrow we go.\nBob\n',
    'The file is no table. It has 5 lines of text with 13 words.',
  ],
  ['JSON of other shapes', '[1, "two", null, [3]]', 'The file has 4 rows and 1 column, JSON.\n- value: text'],
  ['an empty array', '[]', 'The file has 0 rows and 0 columns, JSON.'],
  ['JSON that is broken', '{"a": 1,\n', 'The file'],
];

describe('XE16: a stand-in profiles', () => {
  const profiles = new Map<string, string>();
  beforeAll(async () => {
    const files: [what: string, file: File][] = [
      ...tables.map(([what, name, content]): [string, File] => [what, { name, content }]),
      ...others.map(([what, content]): [string, File] => [what, { name: 'a.csv', content }]),
      ...noTables.map(([what, content]): [string, File] => [what, { name: 'a.txt', content }]),
    ];
    const found = await profilesOf(files.map(([, file]) => file));
    files.forEach(([what], index) => profiles.set(what, found[index] ?? ''));
  });

  test.each(tables)('a table with %s', (what, _name, _content, profile) => expect(profiles.get(what)).toBe(profile));
  test.each(others)('a file with %s', (what, _content, profile) => expect(profiles.get(what)).toBe(profile));
  test.each(noTables)('%s', (what, _content, beginning) => expect(profiles.get(what)).toContain(beginning));
});
