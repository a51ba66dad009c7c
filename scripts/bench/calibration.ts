/**
 * How fast this machine is at this moment: fixed work that has nothing to do with Spendlock, done between the parts of a benchmark. A
 * figure divided by it can be compared with one of another machine, or of another hour of this one.
 */
import { createHash } from 'node:crypto';
import { connectTo } from '../../store/connections';
import { median } from './report';

/** Milliseconds that the fixed work took; the median of all times it was done. */
export interface Calibration {
  /** Hashing and JSON in this process. */
  processorMs: number;
  /** Small transactions of Postgres, one after the other. */
  databaseMs: number;
}

const rounds = 20;
const transactions = 200;

export class Calibrator {
  private readonly processor: number[] = [];
  private readonly database: number[] = [];

  constructor(private readonly adminUrl: string) {}

  /** Does the work once more. */
  async measure(): Promise<void> {
    const client = await connectTo({ connectionString: this.adminUrl });
    await client.query('CREATE TABLE IF NOT EXISTS public.calibration (id integer PRIMARY KEY, value bigint)');
    await client.query('INSERT INTO public.calibration VALUES (1, 0) ON CONFLICT DO NOTHING');
    for (let round = 0; round < rounds; round += 1) {
      this.processor.push(took(compute));
      const startedMs = performance.now();
      for (let at = 0; at < transactions; at += 1)
        await client.query('UPDATE public.calibration SET value = value + 1 WHERE id = 1');
      this.database.push(performance.now() - startedMs);
    }
    await client.end();
  }

  get result(): Calibration {
    return { processorMs: median(this.processor), databaseMs: median(this.database) };
  }
}

function took(work: () => void): number {
  const startedMs = performance.now();
  work();
  return performance.now() - startedMs;
}

function compute(): void {
  let text = 'spendlock';
  for (let at = 0; at < 20_000; at += 1) {
    text = createHash('sha256').update(text).digest('hex');
    text = (JSON.parse(JSON.stringify({ text, at })) as { text: string }).text;
  }
}
