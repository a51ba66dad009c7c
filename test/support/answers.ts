/** Holds every answer of JSON that a test reads to what the API says of it in its own OpenAPI document. */
import Ajv2020, { type ValidateFunction } from 'ajv/dist/2020';

/** The part of an OpenAPI document that says what is answered. */
export interface ApiDescription {
  paths: Record<
    string,
    Record<string, { responses: Record<string, { content?: Record<string, { schema: object }> }> }>
  >;
  components?: object;
}

export interface SeenAnswer {
  method: string;
  path: string;
  status: number;
  body: unknown;
}

/** What does not fit, in words; undefined for what does. */
export type AnswerCheck = (answer: SeenAnswer) => string | undefined;

/** Reads a description once, and checks answers by it. A field that it does not name is as wrong as one that is missing. */
export function answerCheck(description: ApiDescription): AnswerCheck {
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
  const checks = new Map<object, ValidateFunction>();
  // What schemas refer to by name stands beside each.
  const components = closed(description.components ?? {}) as object;
  const routes = Object.entries(description.paths).map(([path, methods]) => ({ path, methods, fits: patternOf(path) }));
  return ({ method, path, status, body }) => {
    // Ids of one segment: where a path is written out, it is meant before one that has an id there.
    const found = routes.filter(({ fits, methods }) => fits.test(path) && methods[method.toLowerCase()]);
    const route = found.find((one) => one.path === path) ?? found[0];
    const responses = route?.methods[method.toLowerCase()]?.responses;
    if (!responses) return undefined;
    const name = `${method} ${route.path} ${status}`;
    // Any route may fail as `default` says. These are of a route's own, and it has to name them.
    const answer = responses[status] ?? (status === 409 || status === 422 ? undefined : responses.default);
    const schema = answer?.content?.['application/json']?.schema;
    if (!schema) return `${name}: no such answer of JSON is described`;
    const check = checks.get(schema) ?? ajv.compile({ ...(closed(schema) as object), components });
    checks.set(schema, check);
    return check(body) ? undefined : `${name}: ${ajv.errorsText(check.errors, { dataVar: '' })}`;
  };
}

const patternOf = (path: string): RegExp => new RegExp(`^${path.replace(/[.]/g, '[.]').replace(/\{\w+\}/g, '[^/]+')}$`);

const saysJson = ({ headers }: Response): boolean =>
  headers.get('content-type')?.startsWith('application/json') === true;

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** A schema whose objects have the fields that it names and no others, unless it says what else they may have. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const parts = Object.fromEntries(Object.entries(schema).map(([name, part]) => [name, closed(part)]));
  return 'properties' in schema && !('additionalProperties' in schema)
    ? { ...parts, additionalProperties: false }
    : parts;
}

/**
 * From now on, what this file's tests read of the API at `url` is checked, whoever asks: they themselves, or a client.
 * @returns what did not fit so far, once each.
 */
export function watchAnswers(url: string): { misfits: () => string[]; stop: () => void } {
  const ask = globalThis.fetch;
  const found = new Set<string>();
  let check: Promise<AnswerCheck> | undefined;
  const describe = async (): Promise<AnswerCheck> =>
    answerCheck((await (await ask(`${url}/openapi.json`)).json()) as ApiDescription);
  const look = async (answer: Omit<SeenAnswer, 'body'>, text: string): Promise<void> => {
    const misfit = isJson(text)
      ? (await (check ??= describe()))({ ...answer, body: JSON.parse(text) })
      : `${answer.method} ${answer.path} ${answer.status}: is no JSON, as its Content-Type says`;
    if (misfit !== undefined) found.add(misfit);
  };
  const watching: typeof fetch = async (input, init) => {
    const response = await ask(input, init);
    const to = String(input instanceof Request ? input.url : input);
    if (!to.startsWith(`${url}/`) || !saysJson(response)) return response;
    const { pathname } = new URL(to);
    const method = (init?.method ?? (input instanceof Request ? input.method : 'GET')).toUpperCase();
    if (pathname === '/openapi.json' || method === 'HEAD') return response;
    const read = response.text.bind(response);
    const text = async (): Promise<string> => {
      const whole = await read();
      await look({ method, path: pathname, status: response.status }, whole);
      return whole;
    };
    return Object.assign(response, { text, json: async (): Promise<unknown> => JSON.parse(await text()) });
  };
  globalThis.fetch = watching;
  return {
    misfits: () => [...found],
    stop: () => {
      if (globalThis.fetch === watching) globalThis.fetch = ask;
    },
  };
}
