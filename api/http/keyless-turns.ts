/**
 * Whose request is looked at next, of those that come without a key that is known: whoever sends a flood waits for the
 * rest of its own. All that came in together would be answered before what Postgres answers others: a hundred connections that
 * ask for nothing sixteen times in one write had every tenant wait for a second. Owners of keys take turns once they are known.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { networkOf } from './sockets';

/** So many begin between two looks at what came in, and so many whose clients have gone are dropped. */
const perTurn = 8;
const dropsPerTurn = 500;
/** So many may wait, of all networks. Whoever has most waiting loses its newest. */
const waitingMax = 20_000;

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

interface Waiting {
  request: IncomingMessage;
  begin: () => void;
}

export class KeylessTurns {
  /** In the order of their turns. */
  private readonly networks = new Map<string, Waiting[]>();
  private count = 0;
  private isPlanned = false;

  /** Who is let through: whoever takes turns by another name. */
  constructor(private readonly isKnown: (request: IncomingMessage) => boolean) {}

  watch(server: Server): void {
    const listeners = server.listeners('request') as Listener[];
    server.removeAllListeners('request');
    server.on('request', ((request, response) => {
      const begin = (): void => listeners.forEach((listener) => listener.call(server, request, response));
      if (this.isKnown(request)) begin();
      else this.wait({ request, begin });
    }) satisfies Listener);
  }

  private wait(waiting: Waiting): void {
    const network = networkOf(waiting.request.socket);
    const own = this.networks.get(network) ?? [];
    this.networks.set(network, own);
    own.push(waiting);
    this.count += 1;
    if (this.count > waitingMax) this.dropNewest();
    this.plan();
  }

  private dropNewest(): void {
    const all = [...this.networks.values()];
    const most = all.reduce((one, other) => (other.length > one.length ? other : one));
    this.count -= 1;
    most.pop()?.request.socket.destroy();
  }

  private plan(): void {
    if (this.isPlanned || this.networks.size === 0) return;
    this.isPlanned = true;
    setImmediate(() => {
      this.isPlanned = false;
      this.takeTurns();
      this.plan();
    });
  }

  private takeTurns(): void {
    let [begun, dropped] = [0, 0];
    for (const [network, own] of this.networks) {
      if (begun === perTurn || dropped === dropsPerTurn) return;
      this.networks.delete(network);
      const next = own.shift();
      if (!next) continue;
      this.count -= 1;
      // To the end of the line. What is added while this goes on is visited too.
      if (own.length > 0) this.networks.set(network, own);
      if (next.request.socket.destroyed) dropped += 1;
      else {
        begun += 1;
        next.begin();
      }
    }
  }
}
