/** Which schemas are taken, and what of an answer does not fit. */
import {
  isForProviders,
  problemOfSchema,
  problemsOfAnswer,
  valueOf,
  type AnswerSchema,
} from '../../../core/agent/answer-schema';

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
    [{ $ref: '#' }],
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
    [{ $ref: 'https://example.com/schema' }, /^\$ref must name a part of this schema/],
    [{ $ref: '#/$defs/none' }, /^\$ref must name/],
    [{ anyOf: { type: 'string' } }, /^anyOf must be a list of schemas/],
    [{ items: 'string' }, /^\/items: must be a schema/],
    [{ properties: [] }, /^properties must be an object/],
    [{ title: 'x'.repeat(20_000) }, /at most 20000 are taken/],
    [{ title: 'a\0b' }, /cannot be stored/],
    [deep(30), /nested deeper than 24 levels/],
  ])('such as %j is refused by name', (schema, says) => expect(problemOfSchema(schema)).toMatch(says));

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
      'it must fit one of the forms (anyOf)',
    ]);
  });
});
