/** How long a provider may be silent, in a process that stood still meanwhile: what had come by then is read before anybody is given up. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { IdleLimit } from '../../../activities/llm/model-provider';
import { askProvider, wholeAnswer } from '../../../api/proxy/provider';

const idleMs = 200;
/** Nothing else goes on meanwhile, as in a process that was stopped. */
const standStill = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

describe('a process that stood still for longer than its provider may be silent', () => {
  test('reads the rest of an answer that had come', async () => {
    const begun: ServerResponse[] = [];
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"whole"');
      begun.push(response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const ask = () =>
      askProvider({ url, method: 'GET', headers: {}, answerMs: idleMs, gone: new AbortController().signal });
    const reading = wholeAnswer(await ask(), { bytesMax: 100, idleMs });
    await sleep(50);
    begun[0]?.end(':true}');
    standStill(3 * idleMs);
    expect((await reading)?.toString()).toBe('{"whole":true}');
    // One that said something after its first silence is given up after its next.
    const later = wholeAnswer(await ask(), { bytesMax: 100, idleMs });
    await sleep(idleMs + 200);
    begun[1]?.write(':');
    expect(await later).toBeUndefined();
    // One that sends no more is given up at once.
    const beganMs = performance.now();
    expect(await wholeAnswer(await ask(), { bytesMax: 100, idleMs })).toBeUndefined();
    expect(performance.now() - beganMs).toBeLessThan(5_000);
    server.close();
    server.closeAllConnections();
  });

  test('hears what a stream of a worker had said', async () => {
    const idle = new IdleLimit({ signal: new AbortController().signal, idleMs });
    standStill(3 * idleMs);
    // What is read comes after the timers.
    setImmediate(() => idle.heard());
    await sleep(50);
    expect(idle.signal.aborted).toBe(false);
    await sleep(idleMs + 1_000);
    expect(idle.signal.aborted).toBe(true);
    idle.end();
  });
});
