/** A paid API of somebody else's, which counts its calls. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export class Geocoder {
  calls = 0;
  /** Whether it takes calls and answers none. */
  hangs = false;
  /** Whether it refuses them, and bills nothing. */
  refuses = false;
  private readonly server: Server = createServer((_, response) => {
    this.calls += 1;
    if (this.refuses) response.writeHead(429).end('too many');
    else if (!this.hangs) response.end('{"place": "51.5, -0.1"}');
  });
  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }
  async listen(): Promise<void> {
    await once(this.server.listen(0, '127.0.0.1'), 'listening');
  }
  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}
