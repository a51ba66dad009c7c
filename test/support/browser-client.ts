/** The typed client as a browser would have it: bundled, and with nothing of Node around it. */
import path from 'node:path';
import vm from 'node:vm';
import { build, type Metafile } from 'esbuild';
import type * as client from '../../client';

/** What Node and browsers have in common, and no more. */
const webGlobals = {
  fetch,
  crypto,
  performance,
  btoa,
  setTimeout,
  clearTimeout,
  AbortController,
  AbortSignal,
  URLSearchParams,
  TextDecoder,
  TransformStream,
  Uint8Array,
};

export interface BrowserClient {
  client: typeof client;
  bytes: number;
  inputs: Metafile['inputs'];
}

/** @throws Error when it imports something that browsers have not. */
export async function bundledClient(): Promise<BrowserClient> {
  const built = await build({
    entryPoints: [path.join(__dirname, '..', '..', 'client', 'index.ts')],
    bundle: true,
    write: false,
    metafile: true,
    minify: true,
    format: 'iife',
    globalName: 'spendlock',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'silent',
  });
  const text = built.outputFiles[0]?.text ?? '';
  const page = vm.createContext({ ...webGlobals });
  vm.runInContext(text, page);
  return {
    client: (page as { spendlock: typeof client }).spendlock,
    bytes: Buffer.byteLength(text),
    inputs: built.metafile.inputs,
  };
}
