/**
 * A stand-in for the E2B API, for machines without a key and for tests: the wire format is the real one and the real SDK
 * talks to it. Its sandboxes are folders of this machine, and their programs child processes (see sandbox-process.ts), so
 * it runs JavaScript only. By default it runs no code but what the Anthropic stand-in wrote.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeHash } from './reply';
import { isKnown, readBody, sendJson, serve, type StandInAccess, type StandInServer } from './http';
import { e2bKnobs, type E2bKnobs } from './knobs';
import { SandboxFolder } from './sandbox-process';

export interface E2bCalls {
  created: number;
  /** Creations that were refused. */
  refused: number;
  killed: number;
  executed: number;
  /** Creations refused since as many sandboxes ran as may. */
  full: number;
  /** Sandboxes that run now. */
  alive: string[];
  paused: string[];
  /** Requests to make, change or end sandboxes that wait for their answer. */
  inFlight: number;
}

export interface E2bStandIn extends StandInServer {
  calls(): E2bCalls;
  knobs: E2bKnobs;
}

export interface E2bOptions extends StandInAccess {
  port?: number;
  knobs?: Partial<E2bKnobs>;
  /** The code that may run: hashes of what a stand-in wrote, or any. */
  allowedCode: ReadonlySet<string> | 'any';
}

interface StandInSandbox {
  id: string;
  /** What those who may use it bring: told to whoever made it. */
  accessToken: string;
  templateId: string;
  metadata: Record<string, string>;
  startedAtMs: number;
  endAtMs: number;
  endTimer: NodeJS.Timeout;
  folder: SandboxFolder;
  isPaused: boolean;
}

export async function startE2bStandIn(options: E2bOptions): Promise<E2bStandIn> {
  const standIn = new E2bState({ ...e2bKnobs(), ...options.knobs }, options);
  const server = await serve((request, response, url) => standIn.handle(request, response, url), {
    name: 'e2b',
    ...(options.port === undefined ? {} : { port: options.port }),
  });
  return {
    ...server,
    knobs: standIn.knobs,
    calls: () => standIn.calls(),
    async stop() {
      standIn.endAll();
      await server.stop();
    },
  };
}

const refuse = (response: ServerResponse, code: number, message: string): void =>
  sendJson(response, code, { code, message });

class E2bState {
  private readonly sandboxes = new Map<string, StandInSandbox>();
  private inFlight = 0;
  private readonly counts = { created: 0, refused: 0, full: 0, killed: 0, executed: 0 };

  constructor(
    readonly knobs: E2bKnobs,
    private readonly options: E2bOptions,
  ) {}

  calls(): E2bCalls {
    const ids = (isPaused: boolean): string[] =>
      [...this.sandboxes.values()].filter((sandbox) => sandbox.isPaused === isPaused).map(({ id }) => id);
    return { ...this.counts, alive: ids(false), paused: ids(true), inFlight: this.inFlight };
  }

  endAll(): void {
    for (const sandbox of this.sandboxes.values()) this.end(sandbox);
  }

  async handle(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const { pathname } = url;
    const method = request.method ?? 'GET';
    // The sandbox's own services are told apart by a header, since one address serves all.
    const sandboxId = request.headers['e2b-sandbox-id'];
    if (typeof sandboxId === 'string' && !pathname.includes('/sandboxes'))
      return this.inside(sandboxId, { method, request, response, url });
    if (!isKnown(request.headers['x-api-key']?.toString(), this.options))
      return refuse(response, 401, 'Invalid API key');
    const body = await readBody(request);
    if (this.options.isSteerable && pathname === '/__stand-in/calls') return sendJson(response, 200, this.calls());
    if (this.options.isSteerable && pathname === '/__stand-in/knobs' && method === 'PUT') {
      Object.assign(this.knobs, JSON.parse(body.toString()));
      return sendJson(response, 200, this.knobs);
    }
    this.inFlight += 1;
    response.once('close', () => (this.inFlight -= 1));
    await sleep(this.knobs.latencyMs);
    if (this.knobs.illWith !== undefined)
      return refuse(response, this.knobs.illWith, 'The stand-in was told to be ill');
    return this.outside({ method, response, url, body });
  }

  /** The API that makes and ends sandboxes. */
  private outside({
    method,
    response,
    url,
    body,
  }: {
    method: string;
    response: ServerResponse;
    url: URL;
    body: Buffer;
  }): void {
    const asked = /^(?:\/v2)?\/sandboxes(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(url.pathname);
    if (!asked) return refuse(response, 404, 'Not found');
    const [, id, action] = asked;
    if (id === undefined) {
      if (method === 'POST') return this.create(response, body);
      if (method === 'GET') return sendJson(response, 200, this.list(url.searchParams.get('metadata')));
      return refuse(response, 404, 'Not found');
    }
    const sandbox = this.sandboxes.get(id);
    if (!sandbox) return refuse(response, 404, `Sandbox ${id} not found`);
    const seconds = Number(
      (body.length > 0 ? (JSON.parse(body.toString()) as { timeout?: number }) : {}).timeout ?? 300,
    );
    if (method === 'DELETE') {
      this.counts.killed += 1;
      this.end(sandbox);
      response.writeHead(204).end();
    } else if (method === 'GET') {
      sendJson(response, 200, this.view(sandbox));
    } else if (action === 'timeout') {
      if (sandbox.isPaused) return refuse(response, 404, `Sandbox ${id} is paused`);
      const failure = this.knobs.failExtendNext.shift();
      if (failure && failure.after !== true) return refuse(response, failure.status, 'The stand-in was told to refuse');
      this.endAfter(sandbox, seconds);
      if (failure) return refuse(response, failure.status, 'The stand-in was told to say so');
      response.writeHead(204).end();
    } else if (action === 'pause') {
      if (sandbox.isPaused) return refuse(response, 409, `Sandbox ${id} is paused already`);
      // Its time stops, and it is not billed.
      clearTimeout(sandbox.endTimer);
      sandbox.isPaused = true;
      response.writeHead(204).end();
    } else if (action === 'connect') {
      const failure = sandbox.isPaused ? this.knobs.failResumeNext.shift() : undefined;
      if (failure && failure.after !== true) return refuse(response, failure.status, 'The stand-in was told to refuse');
      // A paused sandbox comes back for its new time; on a running one it only lengthens.
      if (sandbox.isPaused || Date.now() + seconds * 1000 > sandbox.endAtMs) this.endAfter(sandbox, seconds);
      sandbox.isPaused = false;
      if (failure) return refuse(response, failure.status, 'The stand-in was told to say so');
      sendJson(response, 200, this.view(sandbox));
    } else {
      refuse(response, 404, 'Not found');
    }
  }

  private create(response: ServerResponse, body: Buffer): void {
    const failure = this.knobs.failCreateNext.shift();
    if (failure !== undefined) {
      this.counts.refused += 1;
      return refuse(response, failure, 'The stand-in was told to refuse');
    }
    const running = [...this.sandboxes.values()].filter(({ isPaused }) => !isPaused).length;
    if (running >= this.knobs.concurrentMax) {
      this.counts.full += 1;
      return refuse(response, 429, 'You have reached the maximum number of concurrent sandboxes');
    }
    const asked = JSON.parse(body.toString()) as {
      templateID?: string;
      metadata?: Record<string, string>;
      timeout?: number;
    };
    const sandbox: StandInSandbox = {
      id: `standin${randomUUID().replaceAll('-', '').slice(0, 16)}`,
      accessToken: randomBytes(16).toString('hex'),
      templateId: asked.templateID ?? 'base',
      metadata: asked.metadata ?? {},
      startedAtMs: Date.now(),
      endAtMs: 0,
      endTimer: setTimeout(() => undefined, 0),
      folder: new SandboxFolder(),
      isPaused: false,
    };
    this.endAfter(sandbox, asked.timeout ?? 300);
    this.sandboxes.set(sandbox.id, sandbox);
    this.counts.created += 1;
    if (this.knobs.loseCreateReplies > 0) {
      this.knobs.loseCreateReplies -= 1;
      response.destroy();
      return;
    }
    sendJson(response, 201, this.view(sandbox));
  }

  private endAfter(sandbox: StandInSandbox, seconds: number): void {
    clearTimeout(sandbox.endTimer);
    sandbox.endAtMs = Date.now() + seconds * 1000;
    sandbox.endTimer = setTimeout(() => this.end(sandbox), seconds * 1000);
  }

  private end(sandbox: StandInSandbox): void {
    clearTimeout(sandbox.endTimer);
    this.sandboxes.delete(sandbox.id);
    sandbox.folder.remove();
  }

  private list(metadata: string | null): unknown[] {
    const wanted = [...new URLSearchParams(metadata ?? '')].map(
      ([key, value]) => [decodeURIComponent(key), decodeURIComponent(value)] as const,
    );
    return [...this.sandboxes.values()]
      .filter((sandbox) => wanted.every(([key, value]) => sandbox.metadata[key] === value))
      .map((sandbox) => this.view(sandbox));
  }

  private view(sandbox: StandInSandbox): Record<string, unknown> {
    return {
      sandboxID: sandbox.id,
      templateID: sandbox.templateId,
      clientID: 'stand-in',
      envdVersion: '0.5.7',
      envdAccessToken: sandbox.accessToken,
      metadata: sandbox.metadata,
      startedAt: new Date(sandbox.startedAtMs).toISOString(),
      endAt: new Date(sandbox.endAtMs).toISOString(),
      state: sandbox.isPaused ? 'paused' : 'running',
      cpuCount: this.knobs.cpuCount,
      memoryMB: this.knobs.memoryMb,
      diskSizeMB: 1024,
    };
  }

  /** What a sandbox itself serves: its files, and its interpreter. */
  private async inside(sandboxId: string, { method, request, response, url }: InsideCall): Promise<void> {
    const sandbox = this.sandboxes.get(sandboxId);
    if (!sandbox || sandbox.isPaused) return refuse(response, 502, `The sandbox ${sandboxId} was not found`);
    if (url.pathname === '/health') return void response.writeHead(204).end();
    if (!isKnown(request.headers['x-access-token']?.toString(), { key: sandbox.accessToken }))
      return refuse(response, 401, 'Invalid access token');
    const body = await readBody(request);
    if (url.pathname === '/files' && method === 'GET') return this.readFile(sandbox, response, url);
    if (url.pathname === '/files' && method === 'POST')
      return this.writeFile(sandbox, { request, response, url, body });
    if (url.pathname === '/execute' && method === 'POST') return this.execute(sandbox, response, body);
    if (url.pathname === '/contexts' && method === 'GET')
      return sendJson(response, 200, [{ id: 'default', language: 'javascript', cwd: '/home/user' }]);
    if (url.pathname === '/contexts/default/restart' && method === 'POST') {
      sandbox.folder.endPrograms();
      return void response.writeHead(204).end();
    }
    return refuse(response, 404, 'Not found');
  }

  private readFile({ folder }: StandInSandbox, response: ServerResponse, url: URL): void {
    const sandboxPath = url.searchParams.get('path') ?? '';
    let content: Buffer;
    try {
      content = folder.read(sandboxPath);
    } catch {
      return refuse(response, 404, `path '${sandboxPath}' does not exist`);
    }
    response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(content);
  }

  private async writeFile(
    { folder }: StandInSandbox,
    { request, response, url, body }: Omit<InsideCall, 'method'> & { body: Buffer },
  ): Promise<void> {
    const type = request.headers['content-type'] ?? '';
    const sandboxPath = url.searchParams.get('path') ?? '';
    let content = body;
    if (type.startsWith('multipart/')) {
      const form = await new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData();
      const file = form.get('file');
      if (file instanceof Blob) content = Buffer.from(await file.arrayBuffer());
    }
    folder.write(sandboxPath, content);
    sendJson(response, 200, [{ name: path.basename(sandboxPath), type: 'file', path: sandboxPath }]);
  }

  private async execute({ folder }: StandInSandbox, response: ServerResponse, body: Buffer): Promise<void> {
    const { code, language } = JSON.parse(body.toString()) as { code: string; language?: string };
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    const isCut = this.knobs.cutExecutions > 0;
    if (isCut) this.knobs.cutExecutions -= 1;
    const send = (event: unknown): void => {
      if (response.destroyed) return;
      response.write(`${JSON.stringify(event)}\n`);
      // A moment later, so that what was printed arrives.
      if (isCut) setTimeout(() => response.destroy(), 200);
    };
    const refusal = this.refusalOf(code, language);
    if (refusal === undefined) {
      this.counts.executed += 1;
      await folder.execute(code, send);
    } else {
      send({ type: 'error', traceback: '', ...refusal });
    }
    response.end();
  }

  private refusalOf(code: string, language: string | undefined): { name: string; value: string } | undefined {
    if (language !== undefined && !/^(javascript|js)$/.test(language)) {
      return { name: 'LanguageNotAvailable', value: `This sandbox stand-in runs JavaScript, not ${language}.` };
    }
    const { allowedCode } = this.options;
    if (allowedCode === 'any' || allowedCode.has(codeHash(code))) return undefined;
    return {
      name: 'CodeRefused',
      value:
        'This sandbox is a stand-in on the user’s own machine and runs no code that a real model wrote. Set E2B_API_KEY to ' +
        'use real sandboxes, or start with --allow-local-code to allow it.',
    };
  }
}

interface InsideCall {
  method: string;
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
}
