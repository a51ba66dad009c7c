/** The real services that the environment has keys for: which they are, and whether they can be reached from here. */

interface Service {
  /** As prices name the provider of a model; the sandbox's is e2b. */
  id: 'anthropic' | 'openai' | 'google' | 'e2b';
  name: string;
  /** The variables of its key and of its address. */
  key: string;
  address: string;
  /** Where it is when its address is not set. */
  url: string;
}

const services: Service[] = [
  {
    id: 'anthropic',
    name: 'Anthropic',
    key: 'ANTHROPIC_API_KEY',
    address: 'ANTHROPIC_BASE_URL',
    url: 'https://api.anthropic.com',
  },
  { id: 'openai', name: 'OpenAI', key: 'OPENAI_API_KEY', address: 'OPENAI_BASE_URL', url: 'https://api.openai.com' },
  {
    id: 'google',
    name: 'Google',
    key: 'GEMINI_API_KEY',
    address: 'GEMINI_BASE_URL',
    url: 'https://generativelanguage.googleapis.com',
  },
  { id: 'e2b', name: 'E2B', key: 'E2B_API_KEY', address: 'E2B_API_URL', url: 'https://api.e2b.app' },
];

const isSet = (environment: NodeJS.ProcessEnv, name: string): boolean => (environment[name] ?? '') !== '';
const realServices = (environment: NodeJS.ProcessEnv): Service[] =>
  services.filter(({ key }) => isSet(environment, key));

/** The variables with a real service's key. */
export const realKeys = (environment: NodeJS.ProcessEnv): string[] => realServices(environment).map(({ key }) => key);

/** Who else answers, of the providers that a start names no model of: told by the keys that are set. */
export function otherModels(set: readonly string[]): string[] {
  const others = services.filter(({ id }) => id === 'openai' || id === 'google');
  return others.map(({ name, key }) =>
    set.includes(key)
      ? `Models of ${name}: the real ones. They cost real money.`
      : `Models of ${name}: STAND-IN, unless ${key} is set.`,
  );
}

export interface Unreachable {
  id: Service['id'];
  /** What is wrong and what to do, in sentences. */
  says: string;
}

/** A service that has not begun to answer within this counts as one that cannot be reached. */
const reachMaxMs = 4_000;

/** Which of the real services do not answer at all. What they answer does not matter, and nothing is asked that costs anything. */
export async function unreachableServices(environment: NodeJS.ProcessEnv): Promise<Unreachable[]> {
  const looks = realServices(environment).map(async ({ id, name, key, address, url }) => {
    const where = isSet(environment, address) ? (environment[address] ?? '') : url;
    const why = await whyUnreachable(where);
    if (why === undefined) return [];
    const correct = isSet(environment, address) ? `correct ${address}` : `name another address with ${address}`;
    const says =
      `${name} cannot be reached at ${where} (${why}). Check the network and its proxy, ${correct}, ` +
      `or unset ${key} to use the stand-in.`;
    return [{ id, says }];
  });
  return (await Promise.all(looks)).flat();
}

async function whyUnreachable(url: string): Promise<string | undefined> {
  const signal = AbortSignal.timeout(reachMaxMs);
  try {
    const response = await fetch(url, { redirect: 'manual', signal });
    await response.body?.cancel();
    return undefined;
  } catch (error) {
    if (signal.aborted) return `no answer within ${reachMaxMs / 1000} s`;
    const { message, cause } = error as { message: string; cause?: { message?: string; code?: string } };
    return cause?.message || cause?.code || message;
  }
}
