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
const spans = [
  ['minLength', 'maxLength'],
  ['minItems', 'maxItems'],
  ['minProperties', 'maxProperties'],
  ['minimum', 'maximum'],
] as const;
const lists = ['anyOf', 'allOf', 'oneOf'];
const maps = ['properties', '$defs', 'definitions'];
const others = ['type', 'enum', 'const', 'required', 'items', 'additionalProperties', '$ref'];
const known = [...others, ...lists, ...maps, ...counts, ...numbers];

/** A schema is sent with each call. */
const charsMax = 20_000;
const depthMax = 24;
/** So deep is any value in it, also what is no schema. */
const valueDepthMax = 64;
/** So many values are listed at most. */
const enumMax = 1_000;

/** Why a schema is not taken; undefined where it is. */
export function problemOfSchema(schema: unknown): string | undefined {
  if (!isRecord(schema)) return 'must be a JSON Schema, as an object';
  if (isDeeper(schema, valueDepthMax)) return `is nested deeper than ${valueDepthMax} levels`;
  const chars = JSON.stringify(schema).length;
  if (chars > charsMax) return `has ${chars} characters; at most ${charsMax} are taken`;
  if (JSON.stringify(storable(schema)) !== JSON.stringify(schema)) return 'has a character that cannot be stored';
  const looked: Looked = { root: schema, schemas: new Set(), refs: [] };
  const problem = problemIn(schema, { looked, at: '', depth: 0 });
  if (problem !== undefined) return problem;
  // What stands in its values (a default, say) is no schema that anybody has looked at.
  const lost = looked.refs.find(({ ref }) => !looked.schemas.has(resolved(ref, schema)));
  if (lost) return `${lost.where}$ref must name a schema that is a part of this one, such as #/$defs/item`;
  const endless = looked.refs.find(({ ref }) => leadsNowhere(ref, schema));
  return endless && `${endless.where}$ref leads back to itself, and says nothing of an answer`;
}

/** Whether references follow on each other without an end, with nothing of a value between them. */
function leadsNowhere(ref: unknown, root: AnswerSchema): boolean {
  const seen = new Set<unknown>();
  for (let next = resolved(ref, root); isRecord(next) && '$ref' in next; next = resolved(next.$ref, root)) {
    if (seen.has(next)) return true;
    seen.add(next);
  }
  return false;
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

/** What was looked at so far: the schemas, and who refers to which part. */
interface Looked {
  root: AnswerSchema;
  schemas: Set<unknown>;
  refs: { ref: unknown; where: string }[];
}

interface Place {
  looked: Looked;
  at: string;
  depth: number;
}

function problemIn(schema: unknown, place: Place): string | undefined {
  const { looked, at, depth } = place;
  const where = at === '' ? '' : `${at}: `;
  if (typeof schema === 'boolean' && depth > 0) return undefined;
  if (!isRecord(schema)) return `${where}must be a schema`;
  if (depth > depthMax) return `${where}is nested deeper than ${depthMax} levels`;
  looked.schemas.add(schema);
  const within = (name: string, inner: unknown): string | undefined =>
    problemIn(inner, { looked, at: `${at}/${name}`, depth: depth + 1 });
  for (const [name, value] of Object.entries(schema)) {
    const wrong = (what: string): string => `${where}${name} ${what}`;
    if (words.includes(name)) continue;
    if (!known.includes(name)) return wrong(`is not taken; these are: ${known.join(', ')}`);
    if (counts.includes(name) && !(Number.isInteger(value) && Number(value) >= 0))
      return wrong('must be a whole number');
    if (numbers.includes(name) && !Number.isFinite(value)) return wrong('must be a number');
    if (name === 'type' && !typesIn(value)) return wrong(`must be of ${types.join(', ')}`);
    if (name === 'enum' && !(Array.isArray(value) && value.length > 0 && value.length <= enumMax))
      return wrong(`must be a list with something in it, and with ${enumMax} values at most`);
    if (name === 'required' && !(Array.isArray(value) && value.every((one) => typeof one === 'string')))
      return wrong('must be a list of names');
    if (name === '$ref') looked.refs.push({ ref: value, where });
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
  const crossed = spans.find(([least, most]) => Number(schema[least]) > Number(schema[most]));
  return crossed && `${where}${crossed[0]} is above ${crossed[1]}: no answer can fit`;
}

export const typesIn = (value: unknown): string[] | undefined => {
  const all = Array.isArray(value) ? (value as unknown[]) : [value];
  return all.length > 0 && all.every((one) => types.some((type) => type === one)) ? (all as string[]) : undefined;
};

/** The part of a schema that a reference names. */
export function resolved(ref: unknown, root: AnswerSchema): unknown {
  if (ref === '#') return root;
  if (typeof ref !== 'string' || !ref.startsWith('#/')) return undefined;
  let found: unknown = root;
  for (const part of ref.slice(2).split('/')) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    found = isRecord(found) && Object.hasOwn(found, name) ? found[name] : undefined;
  }
  return isRecord(found) ? found : undefined;
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
export const isForProviders = (schema: AnswerSchema): boolean =>
  schema.type === 'object' && !('anyOf' in schema) && isPlain(schema, 1) && formsIn(schema) <= formsMax;

/** What the strictest of them takes: as deep, as many values in a list, and as many fields of several forms. */
const [plainDepthMax, plainEnumMax, formsMax] = [5, 500, 16];

const formsIn = (value: unknown): number =>
  typeof value !== 'object' || value === null
    ? 0
    : Object.values(value).reduce<number>((sum, inner) => sum + formsIn(inner), 'anyOf' in value ? 1 : 0);

function isPlain(schema: unknown, depth: number): boolean {
  if (depth > plainDepthMax) return false;
  if (!isRecord(schema) || Object.keys(schema).some((name) => !ownWords.includes(name))) return false;
  const { type, properties, required, additionalProperties: others, items, anyOf, enum: listed } = schema;
  if (Array.isArray(anyOf)) {
    const besides = Object.keys(schema).filter((name) => !['anyOf', 'title', 'description'].includes(name));
    return besides.length === 0 && anyOf.every((form) => isPlain(form, depth));
  }
  if (typeof type !== 'string') return false;
  if (listed !== undefined && !isPlainList(listed, type)) return false;
  if (type === 'array') return isPlain(items, depth + 1);
  if (type !== 'object') return true;
  const names = isRecord(properties) ? Object.keys(properties) : [];
  const all = Array.isArray(required) ? (required as unknown[]) : [];
  return (
    others === false &&
    names.every((name) => all.includes(name)) &&
    Object.values(properties ?? {}).every((of) => isPlain(of, depth + 1))
  );
}

const isPlainList = (listed: unknown, type: string): boolean =>
  Array.isArray(listed) &&
  listed.length <= plainEnumMax &&
  listed.every((one) => typeof one === (type === 'integer' ? 'number' : type));
