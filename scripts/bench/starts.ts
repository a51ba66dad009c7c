/** How long `npm start` takes to its first finished run: cold, with no data, and warm, with the data of the first. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

export async function measureStarts(): Promise<{ name: string; seconds: number }[]> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'spendlock-start-'));
  try {
    const cold = await startOnce(dataDir);
    const warm = await startOnce(dataDir);
    return [
      { name: 'start.cold_seconds', seconds: cold },
      { name: 'start.warm_seconds', seconds: warm },
    ];
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

const withoutKeys = { ANTHROPIC_API_KEY: '', OPENAI_API_KEY: '', GEMINI_API_KEY: '', E2B_API_KEY: '' };

/** Seconds from the command to the end of its run, as a person would see it: before the services are stopped again. */
function startOnce(dataDir: string): Promise<number> {
  const startedMs = performance.now();
  const bootstrap = path.join(__dirname, '..', 'bootstrap.cjs');
  const child = spawn(process.execPath, [bootstrap, 'start', '--once'], {
    env: { ...process.env, SPENDLOCK_DATA_DIR: dataDir, ...withoutKeys },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let doneMs = 0;
  let said = '';
  child.stdout.on('data', (data: Buffer) => {
    said += data.toString();
    if (doneMs === 0 && said.includes('The run completed')) doneMs = performance.now();
  });
  return new Promise((resolve, reject) => {
    child.on('exit', (status) => {
      if (status === 0 && doneMs > 0) resolve((doneMs - startedMs) / 1000);
      else reject(new Error(`npm start -- --once ended with status ${status ?? 'none'}`));
    });
  });
}
