/** Which schemas are taken, and what of an answer does not fit. */
import { problemsOfAnswer, valueOf } from '../../../core/agent/answer-check';
import { isForProviders, problemOfSchema, type AnswerSchema } from '../../../core/agent/answer-schema';

const invoice: AnswerSchema = {
  type: 'object',
  properties: {
    number: { type: 'string', minLength: 2, maxLength: 4 },
    totalUsd: { type: 'number', minimum: 0, exclusiveMaximum: 100 },
    paid: { type: ['boolean', 'null'] },
    kind: { enum: ['a', { b: [1] }] },
    lines: { type: 'array', minItems: 1, maxItems: 2, items: { $ref: '#/$defs/line' } },
    note: { anyOf: [{ type: 'string' }, { type: 'integer' }] },
  },
  required: ['number', 'totalUsd'],
  additionalProperties: false,
  $defs: { line: { type: 'object', properties: { lines: { type: 'array', items: { $ref: '#/$defs/line' } } } } },
};

describe('a schema', () => {
  test.each<[object]>([
    [{}],
    [invoice],
    [{ type: 'string', format: 'date', description: 'A day.', default: 'today' }],
    [{ items: { $ref: '#' } }],
    [{ minLength: 2, maxLength: 2 }],
    [{ maxLength: 2, minItems: 3 }],
    [{ oneOf: [true, { const: 1 }], allOf: [{ type: 'integer' }] }],
  ])('such as %j is taken', (schema) => expect(problemOfSchema(schema)).toBeUndefined());

  const deep = (levels: number): object => (levels === 0 ? {} : { items: deep(levels - 1) });
  test.each<[unknown, RegExp]>([
    [[], /as an object/],
    [{ pattern: '(a+)+$' }, /^pattern is not taken; these are: type, /],
    [{ properties: { a: { if: {} } } }, /^\/properties\/a: if is not taken/],
    [{ type: 'text' }, /^type must be of string, /],
    [{ type: [] }, /^type must be of/],
    [{ enum: [] }, /^enum must be a list/],
    [{ required: [1] }, /^required must be a list of names/],
    [{ minLength: -1 }, /^minLength must be a whole number/],
    [{ minimum: '3' }, /^minimum must be a number/],
    [{ $ref: 'https://example.com/schema' }, /^\$ref must name a schema/],
    [{ $ref: '#/$defs/none' }, /^\$ref must name/],
    // No schema stands there, whatever it looks like.
    [{ $ref: '#/default', default: { type: 'object', required: 5 } }, /^\$ref must name a schema/],
    [{ properties: { x: { $ref: '#/properties' } } }, /^\/properties\/x: \$ref must name a schema/],
    [{ $ref: '#' }, /^\$ref leads back to itself/],
    [
      { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } },
      /\$ref leads back to itself/,
    ],
    [{ properties: { a: { minLength: 3, maxLength: 2 } } }, /^\/properties\/a: minLength is above maxLength/],
    [{ minimum: 1, maximum: 0.5 }, /^minimum is above maximum/],
    [{ enum: Array.from({ length: 1_001 }, (_, at) => at) }, /1000 values at most/],
    [{ anyOf: { type: 'string' } }, /^anyOf must be a list of schemas/],
    [{ items: 'string' }, /^\/items: must be a schema/],
    [{ properties: [] }, /^properties must be an object/],
    [{ title: 'x'.repeat(20_000) }, /at most 20000 are taken/],
    [{ title: 'a\0b' }, /cannot be stored/],
    [deep(30), /nested deeper than 24 levels/],
  ])('such as %j is refused by name', (schema, says) => expect(problemOfSchema(schema)).toMatch(says));

  test('whose values are nested without end is refused too', () => {
    const nested = JSON.parse('['.repeat(9_000) + ']'.repeat(9_000)) as unknown;
    expect(problemOfSchema({ const: nested })).toMatch(/deeper than 64 levels/);
  });

  test('is for the providers where each of its objects has the fields that it requires, and nothing else', () => {
    const closed = {
      type: 'object',
      properties: { a: { type: 'string' } },
      required: ['a'],
      additionalProperties: false,
    };
    expect(isForProviders(closed)).toBe(true);
    expect(isForProviders({ ...closed, properties: { a: { type: 'array', items: closed } } })).toBe(true);
    expect(isForProviders({ ...closed, properties: { a: { anyOf: [closed, { type: 'null' }] } } })).toBe(true);
    for (const other of [
      { ...closed, required: [] },
      { ...closed, additionalProperties: true },
      { ...closed, properties: { a: { type: 'string', minLength: 1 } } },
      { ...closed, properties: { a: { type: 'array' } } },
      { ...closed, anyOf: [closed] },
      { ...closed, properties: { a: { anyOf: [closed], type: 'object' } } },
      { ...closed, properties: { a: { type: 'string', enum: ['a', null] } } },
      { type: 'string' },
      invoice,
    ])
      expect(isForProviders(other)).toBe(false);
  });
});

describe('an answer', () => {
  test.each<[string, unknown]>([
    [' {"a": 1}\n', { a: 1 }],
    ['```json\n[1]\n```', [1]],
    ['```\n"x"\n```', 'x'],
  ])('%j is a value', (answer, value) => expect(valueOf(answer)).toEqual({ value }));
  test.each(['', 'It is 3.', '{"a": 1} and more', '```json\nx\n```'])('%j is none', (answer) =>
    expect(valueOf(answer)).toBeUndefined(),
  );

  const good = { number: 'A1', totalUsd: 3.5, paid: null, kind: { b: [1] }, lines: [{}, { lines: [{}] }], note: 1 };
  test('that fits has no problems', () => expect(problemsOfAnswer(JSON.stringify(good), invoice)).toEqual([]));

  test.each<[object, string[]]>([
    [{ number: 'A' }, ['/number must have at least 2 characters']],
    [{ number: '😀😀😀😀' }, []],
    [{ number: 'ABCDE' }, ['/number must have at most 4 characters']],
    [{ number: 3 }, ['/number must be string']],
    [{ totalUsd: -1 }, ['/totalUsd must be at least 0']],
    [{ totalUsd: 100 }, ['/totalUsd must be below 100']],
    [{ totalUsd: undefined }, ['it must have "totalUsd"']],
    [{ paid: 'yes' }, ['/paid must be boolean or null']],
    [{ kind: { b: [2] } }, ['/kind must be one of the listed values']],
    [{ lines: [] }, ['/lines must have at least 1 items']],
    [{ lines: [{}, {}, {}] }, ['/lines must have at most 2 items']],
    [{ lines: [{ lines: [1] }] }, ['/lines/0/lines/0 must be object']],
    [{ note: [] }, ['/note must fit one of the forms (anyOf)']],
    [{ other: 1 }, ['it must not have "other"']],
  ])('with %j is told what does not fit', (changed, problems) =>
    expect(problemsOfAnswer(JSON.stringify({ ...good, ...changed }), invoice)).toEqual(problems),
  );

  test('is told no more than ten problems, and none is looked at for ever', () => {
    const list = { type: 'array', items: { type: 'string' } };
    expect(problemsOfAnswer(JSON.stringify(Array(50).fill(1)), list)).toHaveLength(10);
    expect(
      problemsOfAnswer('1', { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } }),
    ).toEqual(['it is more than can be checked']);
    const both = (next: string) => ({ anyOf: [{ $ref: next }, { $ref: next }] });
    const $defs = Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`d${at}`, both(`#/$defs/d${at + 1}`)]));
    // Two to the power of forty looks, were they not counted.
    expect(problemsOfAnswer('1', { $ref: '#/$defs/d0', $defs: { ...$defs, d40: { type: 'string' } } })).toEqual([
      'it is more than can be checked',
    ]);
  });

  const times = (count: number, of: object): object[] => Array.from({ length: count }, () => of);
  const twice = (inner: object) => ({
    $ref: '#/$defs/a',
    $defs: {
      a: { allOf: times(200, { $ref: '#/$defs/b' }) },
      b: { allOf: times(200, { $ref: '#/$defs/c' }) },
      c: inner,
    },
  });
  test.each<[string, string, AnswerSchema, number]>([
    ['blank lines after a fence', `\`\`\`${'\n'.repeat(200_000)}x`, { type: 'string' }, 1],
    ['a long text that nobody measures', JSON.stringify(' '.repeat(100_000)), twice({}), 0],
    ['a long text that is measured', JSON.stringify(' '.repeat(100_000)), twice({ minLength: 1 }), 1],
    ['long lists of values', JSON.stringify(Array(500).fill(-1)), { items: twiceListed() }, 1],
    ['very many problems', JSON.stringify(times(8_000, {})), { items: { required: Array(20).fill('a') } }, 1],
  ])('of %s is checked in no time', (_, answer, schema, problems) => {
    const startedMs = performance.now();
    expect(Math.min(1, problemsOfAnswer(answer, schema).length)).toBe(problems);
    // Some milliseconds by itself; minutes where it is not counted.
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });
  function twiceListed(): AnswerSchema {
    return { allOf: times(100, { enum: Array.from({ length: 900 }, (_, at) => at) }) };
  }

  test('that is a number which cannot be written does not fit', () =>
    expect(problemsOfAnswer('1e999', { type: 'number' })).toEqual(['it must be a number that can be written']));
});
