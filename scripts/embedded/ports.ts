/** Finds free ports of the loopback interface. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Where ports are looked for: below those that systems give to whoever asks for any (from 32,768 on Linux, 49,152 elsewhere), or
 * another process could be given the one that was found before it is listened on.
 */
const range = { from: 20_000, below: 32_768 };
const triesMax = 100;

/** The preferred port of the loopback interface when it is free, any free one otherwise (0: any). @throws Error when none is found. */
export async function freePort(preferred = 0): Promise<number> {
  if (preferred !== 0 && (await isFree(preferred))) return preferred;
  for (let tried = 0; tried < triesMax; tried += 1) {
    const port = randomInt(range.from, range.below);
    if (await isFree(port)) return port;
  }
  throw new Error(`No free port was found on 127.0.0.1 in ${triesMax} tries from ${range.from} to ${range.below - 1}.`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
