/** Real services of `npm start`: none is paid for unasked, and one that cannot be reached is told soon, with what to do. */
import { createServer, type AddressInfo, type Server } from 'node:net';
import { createServer as createHttpServer } from 'node:http';
import { parseStartOptions } from '../../../scripts/start/options';
import { otherModels, realKeys, unreachableServices } from '../../../scripts/start/real-services';

const keys = ['ANTHROPIC_API_KEY', 'OPENAI_API_KEY', 'GEMINI_API_KEY', 'E2B_API_KEY'];

describe('XE15: the real services of npm start', () => {
  const servers: Server[] = [];
  const listen = async (server: Server): Promise<string> => {
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const before = Object.fromEntries(keys.map((key) => [key, process.env[key]]));
  afterEach(() => {
    for (const [key, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[key];
      else process.env[key] = value;
    }
    for (const server of servers.splice(0)) server.close();
  });

  test('whose models are real is told by the keys that are set', () => {
    expect(otherModels(['OPENAI_API_KEY'])).toEqual([
      'Models of OpenAI: the real ones. They cost real money.',
      'Models of Google: STAND-IN, unless GEMINI_API_KEY is set.',
    ]);
  });

  test('a service that is silent, and one that is not there, are told within five seconds, each with its variables', async () => {
    const silent = await listen(createServer(() => undefined));
    const answers = await listen(createHttpServer((_request, response) => void response.writeHead(404).end()));
    const found = await unreachableServices({
      ...{ ANTHROPIC_API_KEY: 'x', ANTHROPIC_BASE_URL: silent },
      ...{ OPENAI_API_KEY: 'x', OPENAI_BASE_URL: 'http://127.0.0.1:9' },
      ...{ GEMINI_API_KEY: 'x', GEMINI_BASE_URL: answers },
      ...{ E2B_API_KEY: '', E2B_API_URL: 'http://127.0.0.1:9' },
    });
    expect(found.map(({ id }) => id)).toEqual(['anthropic', 'openai']);
    expect(found[0]?.says).toBe(
      `Anthropic cannot be reached at ${silent} (no answer within 4 s). Check the network and its proxy, correct ANTHROPIC_BASE_URL, ` +
        'or unset ANTHROPIC_API_KEY to use the stand-in.',
    );
    expect(found[1]?.says).toMatch(/^OpenAI cannot be reached at http:\/\/127\.0\.0\.1:9 \(.+\)\. .*OPENAI_API_KEY/);
  });

  test.each(keys)('with %s set a run is made only when it is asked for by name', (key) => {
    process.env[key] = 'of-somebody';
    expect(realKeys(process.env)).toContain(key);
    for (const args of [['--once'], ['--budget', '1'], ['--once', '--budget', '0']])
      expect(() => parseStartOptions(args)).toThrow(/is made only when it is asked for by --example or --task/);
    expect(parseStartOptions([])).toMatchObject({ once: false, example: false });
    expect(parseStartOptions(['--once', '--example'])).toMatchObject({ example: true });
    expect(parseStartOptions(['--once', '--task', 'x'])).toMatchObject({ task: 'x' });
  });
});
