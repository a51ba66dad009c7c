/**
 * Tools of a tenant's own for a chaos run, at addresses and as an MCP server, that answer in every way. Each call brings a mark that its model
 * gave it, so that what was called can be set against the books. The server goes away and comes back on the same port.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { readBody, serve, type StandInServer } from '../stand-ins/http';
import { answerMcp } from '../stand-ins/mcp';
import { insist } from './installation-parts';

/** Whether the price of a call that was heard is due: `unknown` is charged too, as unverified. */
type Due = 'yes' | 'no' | 'unknown';
export type ToolKind = 'http' | 'mcp';

/** How calls are answered, and what is due for it, as an address answers so and as a server does. */
export const ways = {
  answers: { http: 'yes', mcp: 'yes' },
  /** After a second, in which whoever asked may be killed. */
  slow: { http: 'yes', mcp: 'yes' },
  /** Not at all, for longer than a call may take. */
  hangs: { http: 'unknown', mcp: 'unknown' },
  /** With 500. */
  breaks: { http: 'unknown', mcp: 'unknown' },
  /** With the half of it. */
  cut: { http: 'unknown', mcp: 'unknown' },
  /** With more than is taken: of an address the beginning is shown, of a server nothing. */
  large: { http: 'yes', mcp: 'unknown' },
  /** With what is no text, or none of the protocol, and the credential in it. */
  garbage: { http: 'yes', mcp: 'unknown' },
  /** With 403, or with 404 as a server that has forgotten a session. */
  refuses: { http: 'no', mcp: 'no' },
} satisfies Record<string, Record<ToolKind, Due>>;
export type Way = keyof typeof ways;

const slowMs = 1_000;
const largeBytes = 1_000_000;
/** What begins as an answer does, and goes on as none. */
const nonsense = Buffer.from([0x7b, 0x22, 0x00, 0xff, 0xfe, 0xc3, 0x28, 0x0a]);

interface Call {
  way: Way;
  mark: string;
}

export class ToolServer {
  /** When each call was heard, by its mark, in milliseconds since 1970. */
  readonly heard = new Map<string, number[]>();
  /** When the server was not there. */
  readonly gone: { fromMs: number; toMs: number }[] = [];
  /** What each call has to bring, and nobody else may see. */
  readonly secret = randomBytes(24).toString('base64url');
  /** Calls that came without it. */
  strangers = 0;
  private server!: StandInServer;

  static async start(): Promise<ToolServer> {
    const started = new ToolServer();
    started.server = await started.serve(0);
    return started;
  }

  get url(): string {
    return this.server.url;
  }

  stop(): Promise<void> {
    return this.server.stop();
  }

  /** Ends the server in the middle of whatever it does, for so long. */
  async vanish(forMs: number): Promise<void> {
    const gone = { fromMs: Date.now(), toMs: Infinity };
    this.gone.push(gone);
    const { port } = this.server;
    await this.server.stop();
    await sleep(forMs);
    this.server = await insist(() => this.serve(port));
    gone.toMs = Date.now();
  }

  /** Whether it was not there at some moment of this time. */
  wasGone(firstMs: number, lastMs: number): boolean {
    return this.gone.some(({ fromMs, toMs }) => lastMs >= fromMs && firstMs <= toMs);
  }

  private serve(port: number): Promise<StandInServer> {
    return serve((request, response, url) => this.answer(request, response, url), { name: 'tools', port });
  }

  private async answer(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const body = (await readBody(request)).toString();
    if (request.headers.authorization !== `Bearer ${this.secret}`) this.strangers += 1;
    if (request.method === 'OPTIONS') return void response.writeHead(405).end();
    if (url.pathname !== '/mcp') {
      const call: Call = { way: url.pathname.slice(1) as Way, mark: (JSON.parse(body) as { mark: string }).mark };
      this.note(call);
      return this.answerAs(call.way, response);
    }
    const call = request.method === 'POST' ? callIn(body) : undefined;
    if (call) this.note(call);
    if (call?.way === 'garbage') return this.answerAs('garbage', response, 'application/json');
    if (call?.way === 'refuses') return void response.writeHead(404).end('There is no such session.');
    if (call && ['hangs', 'breaks', 'cut'].includes(call.way)) return this.answerAs(call.way, response);
    await answerMcp(request, response, { url: `${this.url}/mcp`, body, server: () => mcpServer() });
  }

  private note({ mark }: Call): void {
    this.heard.set(mark, [...(this.heard.get(mark) ?? []), Date.now()]);
  }

  private async answerAs(way: Way, response: ServerResponse, type = 'text/plain'): Promise<void> {
    switch (way) {
      case 'hangs':
        return;
      case 'breaks':
        return void response.writeHead(500).end('It broke.');
      case 'refuses':
        return void response.writeHead(403).end('Not for you.');
      case 'cut':
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' }).write('{"half": ');
        await sleep(50);
        return void response.destroy();
      case 'garbage': {
        const said = Buffer.concat([nonsense, Buffer.from(`You sent Bearer ${this.secret}`)]);
        return void response.writeHead(200, { 'content-type': type }).end(said);
      }
      default:
        return void response.writeHead(200, { 'content-type': type }).end(await textOf(way));
    }
  }
}

/** The call of a tool in a request of the protocol; undefined of its other requests. */
function callIn(body: string): Call | undefined {
  const { method, params } = JSON.parse(body) as {
    method?: string;
    params?: { name: Way; arguments: { mark: string } };
  };
  return method === 'tools/call' && params ? { way: params.name, mark: params.arguments.mark } : undefined;
}

async function textOf(way: Way): Promise<string> {
  if (way === 'slow') await sleep(slowMs);
  return way === 'large' ? 'x'.repeat(largeBytes) : 'Done.';
}

function mcpServer(): McpServer {
  const server = new McpServer({ name: 'chaos', version: '1' });
  for (const way of Object.keys(ways) as Way[])
    server.registerTool(way, { description: `It ${way}.`, inputSchema: z.object({ mark: z.string() }) }, async () => ({
      content: [{ type: 'text', text: await textOf(way) }],
    }));
  return server;
}
