/**
 * What of an answer does not fit its schema. What is looked at is counted, and has an end whatever the schema refers to: a worker does other
 * work meanwhile.
 */
import { isRecord } from '../prices/usage';
import { resolved, typesIn, type AnswerSchema } from './answer-schema';

/** So much may be looked at in one answer, or twice of its characters: what refers to itself in a circle comes to an end there. */
const looksMin = 50_000;
/** So deep, in references and in what is nested. */
const levelsMax = 200;
/** So many problems are told. */
const problemsMax = 10;
/** So many characters are counted, or compared, in one look. */
const charsOfLook = 100;

/** The value that an answer is, which may stand in a fence; undefined where it is no JSON. */
export function valueOf(answer: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(unfenced(answer.trim())) as unknown };
  } catch {
    return undefined;
  }
}

/** What stands between the first line and the last, where those are a fence. */
function unfenced(text: string): string {
  const from = text.indexOf('\n');
  const to = text.lastIndexOf('\n');
  const isFenced = /^```(?:json)?\s*$/.test(text.slice(0, Math.min(from, charsOfLook))) && text.slice(to + 1) === '```';
  return isFenced && from < to ? text.slice(from, to) : text;
}

/** What of an answer does not fit, each with its place; empty where all does. */
export function problemsOfAnswer(answer: string, schema: AnswerSchema): string[] {
  const read = valueOf(answer);
  if (!read) return ['it is no JSON'];
  return new Check(schema, Math.max(looksMin, 2 * answer.length)).problems(read.value);
}

type Told = string[];

class Check {
  private looks = 0;
  private levels = 0;

  constructor(
    private readonly root: AnswerSchema,
    private readonly looksMax: number,
  ) {}

  problems(value: unknown): string[] {
    const told: Told = [];
    this.fits(value, this.root, { at: '', told });
    return this.isOver ? ['it is more than can be checked'] : told;
  }

  private get isOver(): boolean {
    return this.looks > this.looksMax;
  }

  /** Whether a value fits; what does not is told, as much as is told of one answer. */
  private fits(value: unknown, schema: unknown, place: { at: string; told: Told }): boolean {
    this.looks += 1;
    this.levels += 1;
    if (this.levels > levelsMax) this.looks = Infinity;
    const fits = !this.isOver && this.fitsAll(value, schema, place);
    this.levels -= 1;
    return fits;
  }

  private fitsAll(value: unknown, schema: unknown, { at, told }: { at: string; told: Told }): boolean {
    const here = at === '' ? 'it' : at;
    let all = true;
    const needs = (fits: boolean, what: string): void => {
      if (fits) return;
      all = false;
      if (told.length < problemsMax) told.push(`${here} must ${what}`);
    };
    const within = (inner: unknown, of: unknown, name = ''): void => {
      if (!this.fits(inner, of, { at: at + name, told })) all = false;
    };
    if (schema === true) return true;
    if (!isRecord(schema)) {
      needs(false, 'not be there');
      return false;
    }
    const kinds = typesIn(schema.type);
    if (kinds && !kinds.some((type) => isOf(type, value))) {
      needs(false, `be ${kinds.join(' or ')}`);
      return false;
    }
    if ('const' in schema) needs(this.isSame(value, schema.const), 'be the one value that is allowed');
    if (Array.isArray(schema.enum))
      needs(
        schema.enum.some((one) => this.isSame(value, one)),
        'be one of the listed values',
      );
    if ('$ref' in schema) within(value, resolved(schema.$ref, this.root));
    this.combined(value, schema, { within, needs });
    if (typeof value === 'string' && ('minLength' in schema || 'maxLength' in schema)) {
      this.looks += Math.ceil(value.length / charsOfLook);
      inBounds(this.isOver ? 0 : [...value].length, schema, ['minLength', 'maxLength'], 'characters', needs);
    }
    if (typeof value === 'number') inRange(value, schema, needs);
    if (Array.isArray(value)) {
      inBounds(value.length, schema, ['minItems', 'maxItems'], 'items', needs);
      if ('items' in schema)
        for (let index = 0; index < value.length && !this.isOver; index += 1)
          within(value[index], schema.items, `/${index}`);
    } else if (isRecord(value)) this.inObject(value, schema, { within, needs });
    return all;
  }

  /** Without a word of what did not fit in a form that need not. */
  private fitsForm(value: unknown, form: unknown): boolean {
    return this.fits(value, form, { at: '', told: [] });
  }

  private combined(value: unknown, { anyOf, allOf, oneOf }: AnswerSchema, { within, needs }: Needs): void {
    if (Array.isArray(allOf)) for (const part of allOf) within(value, part);
    if (Array.isArray(anyOf))
      needs(
        anyOf.some((form) => this.fitsForm(value, form)),
        'fit one of the forms (anyOf)',
      );
    if (Array.isArray(oneOf)) {
      const fitting = oneOf.filter((form) => this.fitsForm(value, form)).length;
      needs(fitting === 1, 'fit exactly one of the forms (oneOf)');
    }
  }

  private inObject(value: Record<string, unknown>, schema: AnswerSchema, { within, needs }: Needs): void {
    const { required, additionalProperties: others = true } = schema;
    const properties = isRecord(schema.properties) ? schema.properties : {};
    const names = Object.keys(value);
    this.looks += Math.ceil(names.length / charsOfLook);
    inBounds(names.length, schema, ['minProperties', 'maxProperties'], 'properties', needs);
    if (Array.isArray(required)) {
      this.looks += required.length;
      for (const name of required as string[]) needs(Object.hasOwn(value, name), `have ${JSON.stringify(name)}`);
    }
    for (const name of names) {
      if (this.isOver) return;
      const place = `/${name.slice(0, 50)}`;
      if (Object.hasOwn(properties, name)) within(value[name], properties[name], place);
      else if (others === false) {
        this.looks += 1;
        needs(false, `not have ${JSON.stringify(name.slice(0, 50))}`);
      } else within(value[name], others, place);
    }
  }

  /** As JSON compares: the order of an object's fields is nothing. */
  private isSame(one: unknown, other: unknown): boolean {
    this.looks += 1;
    if (this.isOver) return false;
    if (Array.isArray(one) && Array.isArray(other))
      return one.length === other.length && one.every((item, index) => this.isSame(item, other[index]));
    if (!isRecord(one) || !isRecord(other)) return one === other;
    const names = Object.keys(one);
    return (
      names.length === Object.keys(other).length &&
      names.every((name) => Object.hasOwn(other, name) && this.isSame(one[name], other[name]))
    );
  }
}

interface Needs {
  within: (inner: unknown, of: unknown, name?: string) => void;
  needs: (fits: boolean, what: string) => void;
}

function inRange(value: number, schema: AnswerSchema, needs: Needs['needs']): void {
  const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below } = schema;
  needs(Number.isFinite(value), 'be a number that can be written');
  needs(!(value < Number(minimum)), `be at least ${String(minimum)}`);
  needs(!(value > Number(maximum)), `be at most ${String(maximum)}`);
  needs(!(value <= Number(above)), `be above ${String(above)}`);
  needs(!(value >= Number(below)), `be below ${String(below)}`);
}

function inBounds(
  count: number,
  schema: AnswerSchema,
  [least, most]: [string, string],
  what: string,
  needs: Needs['needs'],
): void {
  needs(!(count < Number(schema[least])), `have at least ${String(schema[least])} ${what}`);
  needs(!(count > Number(schema[most])), `have at most ${String(schema[most])} ${what}`);
}

function isOf(type: string, value: unknown): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  return type === 'object' ? isRecord(value) : typeof value === type;
}
