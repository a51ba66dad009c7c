/**
 * Answers by a JSON Schema: which schemas are taken, and what of an answer does not fit its own. It is the part of JSON Schema that
 * describes data as providers of models understand it; what is not of it is refused by name, never passed over. Words for people and
 * programs (`title`, `description`, `format` and the like) are let stand, and hold an answer to nothing.
 */
import { isRecord } from '../prices/usage';
import { storable } from '../storable';

/** As a run's options have it. */
export type AnswerSchema = Readonly<Record<string, unknown>>;

const types = ['string', 'number', 'integer', 'boolean', 'object', 'array', 'null'] as const;
const words = ['$schema', '$id', '$comment', 'title', 'description', 'default', 'examples', 'format', 'deprecated'];
const counts = ['minLength', 'maxLength', 'minItems', 'maxItems', 'minProperties', 'maxProperties'];
const numbers = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'];
const lists = ['anyOf', 'allOf', 'oneOf'];
const maps = ['properties', '$defs', 'definitions'];
const others = ['type', 'enum', 'const', 'required', 'items', 'additionalProperties', '$ref'];
const known = [...others, ...lists, ...maps, ...counts, ...numbers];

/** A schema is sent with each call. */
const charsMax = 20_000;
const depthMax = 24;
/** So much may be looked at in one answer: what refers to itself in a circle comes to an end there. */
const looksMax = 50_000;
/** So deep, in references and in what is nested. */
const levelsMax = 200;
/** So many problems are told. */
const problemsMax = 10;

/** Why a schema is not taken; undefined where it is. */
export function problemOfSchema(schema: unknown): string | undefined {
  if (!isRecord(schema)) return 'must be a JSON Schema, as an object';
  const chars = JSON.stringify(schema).length;
  if (chars > charsMax) return `has ${chars} characters; at most ${charsMax} are taken`;
  if (JSON.stringify(storable(schema)) !== JSON.stringify(schema)) return 'has a character that cannot be stored';
  return problemIn(schema, { root: schema, at: '', depth: 0 });
}

interface Place {
  root: AnswerSchema;
  at: string;
  depth: number;
}

function problemIn(schema: unknown, place: Place): string | undefined {
  const { root, at, depth } = place;
  const where = at === '' ? '' : `${at}: `;
  if (typeof schema === 'boolean' && depth > 0) return undefined;
  if (!isRecord(schema)) return `${where}must be a schema`;
  if (depth > depthMax) return `${where}is nested deeper than ${depthMax} levels`;
  const within = (name: string, inner: unknown): string | undefined =>
    problemIn(inner, { root, at: `${at}/${name}`, depth: depth + 1 });
  for (const [name, value] of Object.entries(schema)) {
    const wrong = (what: string): string => `${where}${name} ${what}`;
    if (words.includes(name)) continue;
    if (!known.includes(name)) return wrong(`is not taken; these are: ${known.join(', ')}`);
    if (counts.includes(name) && !(Number.isInteger(value) && Number(value) >= 0))
      return wrong('must be a whole number');
    if (numbers.includes(name) && !Number.isFinite(value)) return wrong('must be a number');
    if (name === 'type' && !typesIn(value)) return wrong(`must be of ${types.join(', ')}`);
    if (name === 'enum' && !(Array.isArray(value) && value.length > 0))
      return wrong('must be a list with something in it');
    if (name === 'required' && !(Array.isArray(value) && value.every((one) => typeof one === 'string')))
      return wrong('must be a list of names');
    if (name === '$ref' && !resolved(value, root))
      return wrong('must name a part of this schema, such as #/$defs/item');
    if (lists.includes(name) && !(Array.isArray(value) && value.length > 0)) return wrong('must be a list of schemas');
    if (maps.includes(name) && !isRecord(value)) return wrong('must be an object of schemas');
    const problem =
      lists.includes(name) || maps.includes(name)
        ? Object.entries(value as object).reduce<string | undefined>(
            (found, [key, inner]) => found ?? within(`${name}/${key}`, inner),
            undefined,
          )
        : name === 'items' || name === 'additionalProperties'
          ? within(name, value)
          : undefined;
    if (problem !== undefined) return problem;
  }
  return undefined;
}

const typesIn = (value: unknown): string[] | undefined => {
  const all = Array.isArray(value) ? (value as unknown[]) : [value];
  return all.length > 0 && all.every((one) => types.some((type) => type === one)) ? (all as string[]) : undefined;
};

/** The part of a schema that a reference names. */
function resolved(ref: unknown, root: AnswerSchema): unknown {
  if (ref === '#') return root;
  if (typeof ref !== 'string' || !ref.startsWith('#/')) return undefined;
  let found: unknown = root;
  for (const part of ref.slice(2).split('/')) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    found = isRecord(found) && Object.hasOwn(found, name) ? found[name] : undefined;
  }
  return isRecord(found) ? found : undefined;
}

/** The value that an answer is, which may stand in a fence; undefined where it is no JSON. */
export function valueOf(answer: string): { value: unknown } | undefined {
  const text = answer.trim();
  const fenced = /^```(?:json)?\s*\n([^]*)\n\s*```$/.exec(text)?.[1];
  try {
    return { value: JSON.parse(fenced ?? text) as unknown };
  } catch {
    return undefined;
  }
}

/** What of an answer does not fit, each with its place; empty where all does. */
export function problemsOfAnswer(answer: string, schema: AnswerSchema): string[] {
  const read = valueOf(answer);
  if (!read) return ['it is no JSON'];
  const check = new Check(schema);
  return check.problems(read.value, schema, '').slice(0, problemsMax);
}

class Check {
  private looks = 0;
  private levels = 0;

  constructor(private readonly root: AnswerSchema) {}

  problems(value: unknown, schema: unknown, at: string): string[] {
    this.levels += 1;
    const found = this.look(value, schema, at);
    this.levels -= 1;
    return found;
  }

  private look(value: unknown, schema: unknown, at: string): string[] {
    this.looks += 1;
    const here = at === '' ? 'it' : at;
    if (this.looks > looksMax || this.levels > levelsMax) return [`${here} is more than can be checked`];
    if (schema === true) return [];
    if (!isRecord(schema)) return [`${here} must not be there`];
    const found: string[] = [];
    const needs = (fits: boolean, what: string): void => void (fits || found.push(`${here} must ${what}`));
    const kinds = typesIn(schema.type);
    if (kinds && !kinds.some((type) => isOf(type, value))) return [`${here} must be ${kinds.join(' or ')}`];
    if ('const' in schema) needs(isSame(value, schema.const), 'be the one value that is allowed');
    if (Array.isArray(schema.enum))
      needs(
        schema.enum.some((one) => isSame(value, one)),
        'be one of the listed values',
      );
    if ('$ref' in schema) found.push(...this.problems(value, resolved(schema.$ref, this.root), at));
    found.push(...this.combined(value, schema, at));
    if (typeof value === 'string') inBounds([...value].length, schema, ['minLength', 'maxLength'], 'characters', needs);
    if (typeof value === 'number') {
      const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below } = schema;
      needs(!(value < Number(minimum)), `be at least ${String(minimum)}`);
      needs(!(value > Number(maximum)), `be at most ${String(maximum)}`);
      needs(!(value <= Number(above)), `be above ${String(above)}`);
      needs(!(value >= Number(below)), `be below ${String(below)}`);
    }
    if (Array.isArray(value)) {
      inBounds(value.length, schema, ['minItems', 'maxItems'], 'items', needs);
      if ('items' in schema)
        for (const [index, item] of value.entries()) found.push(...this.problems(item, schema.items, `${at}/${index}`));
    } else if (isRecord(value)) found.push(...this.inObject(value, schema, at));
    return found;
  }

  private combined(value: unknown, { anyOf, allOf, oneOf }: AnswerSchema, at: string): string[] {
    const found: string[] = [];
    const here = at === '' ? 'it' : at;
    const fitting = (parts: unknown[]): number =>
      parts.filter((part) => this.problems(value, part, at).length === 0).length;
    if (Array.isArray(allOf)) for (const part of allOf) found.push(...this.problems(value, part, at));
    if (Array.isArray(anyOf) && fitting(anyOf) === 0) found.push(`${here} must fit one of the forms (anyOf)`);
    if (Array.isArray(oneOf) && fitting(oneOf) !== 1) found.push(`${here} must fit exactly one of the forms (oneOf)`);
    return found;
  }

  private inObject(value: Record<string, unknown>, schema: AnswerSchema, at: string): string[] {
    const found: string[] = [];
    const here = at === '' ? 'it' : at;
    const needs = (fits: boolean, what: string): void => void (fits || found.push(`${here} must ${what}`));
    const { required = [], additionalProperties: others = true } = schema;
    const properties = isRecord(schema.properties) ? schema.properties : {};
    inBounds(Object.keys(value).length, schema, ['minProperties', 'maxProperties'], 'properties', needs);
    for (const name of required as string[]) needs(Object.hasOwn(value, name), `have ${JSON.stringify(name)}`);
    for (const [name, inner] of Object.entries(value)) {
      if (Object.hasOwn(properties, name)) found.push(...this.problems(inner, properties[name], `${at}/${name}`));
      else if (others === false) needs(false, `not have ${JSON.stringify(name.slice(0, 50))}`);
      else found.push(...this.problems(inner, others, `${at}/${name.slice(0, 50)}`));
    }
    return found;
  }
}

function inBounds(
  count: number,
  schema: AnswerSchema,
  [least, most]: [string, string],
  what: string,
  needs: (fits: boolean, what: string) => void,
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

/** As JSON compares: the order of an object's fields is nothing. */
function isSame(one: unknown, other: unknown): boolean {
  if (Array.isArray(one) && Array.isArray(other))
    return one.length === other.length && one.every((item, index) => isSame(item, other[index]));
  if (!isRecord(one) || !isRecord(other)) return one === other;
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => Object.hasOwn(other, name) && isSame(one[name], other[name]))
  );
}

/** What each provider's own answers by a schema take. */
const ownWords = [
  'type',
  'properties',
  'required',
  'additionalProperties',
  'items',
  'enum',
  'anyOf',
  'description',
  'title',
];

/**
 * Whether providers that make answers by a schema themselves take it as it is: an object whose fields are all required and no others
 * allowed, however deep, without bounds or references. Any other is asked for in words alone, and checked as well.
 */
export const isForProviders = (schema: AnswerSchema): boolean => schema.type === 'object' && isPlain(schema);

function isPlain(schema: unknown): boolean {
  if (!isRecord(schema) || Object.keys(schema).some((name) => !ownWords.includes(name))) return false;
  const { type, properties, required, additionalProperties: others, items, anyOf } = schema;
  if (Array.isArray(anyOf)) return anyOf.every(isPlain);
  if (typeof type !== 'string') return false;
  if (type === 'array') return isPlain(items);
  if (type !== 'object') return true;
  const names = isRecord(properties) ? Object.keys(properties) : [];
  const all = Array.isArray(required) ? (required as unknown[]) : [];
  return (
    others === false && names.every((name) => all.includes(name)) && Object.values(properties ?? {}).every(isPlain)
  );
}
