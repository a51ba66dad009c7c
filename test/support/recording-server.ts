/** A server that notes what it is asked and answers each with what it is told to: for what a client sends, not for what comes of it. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  method: string;
  path: string;
  query: string[];
  body: object;
}

export interface RecordingServer {
  url: string;
  asked: Asked[];
  close(): Promise<void>;
}

/** Streams end at once; any other answer is the one that is given. */
export async function recordingServer(answer: object = {}): Promise<RecordingServer> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (piece: Buffer) => (text += piece.toString()));
    request.on('end', () => {
      const { pathname: path, searchParams } = new URL(request.url ?? '', 'http://here');
      const body = JSON.parse(text || '{}') as object;
      asked.push({ method: request.method ?? '', path, query: [...searchParams.keys()], body });
      const isStream = path.endsWith('/events');
      response.setHeader('content-type', isStream ? 'text/event-stream' : 'application/json');
      response.end(isStream ? 'event: done\ndata: {"status":"completed"}\n\n' : JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
