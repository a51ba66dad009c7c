/** How much processor time each part took, from /proc. Elsewhere than on Linux there is none to tell. */
import type { Print } from './report';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** A process, or a process with all that came from it. */
export interface Part {
  pid: number;
  withChildren?: boolean;
}

export type ProcessorMs = Record<string, number>;

/** A tick of /proc is a hundredth of a second on every Linux that Node runs on. */
const tickMs = 10;

/** Milliseconds of processor time of each part so far; undefined where that cannot be told. */
export function processorMs(parts: Record<string, Part>): ProcessorMs | undefined {
  if (!existsSync('/proc/self/stat')) return undefined;
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => statOf(Number(pid)) ?? []);
  return Object.fromEntries(
    Object.entries(parts).map(([name, { pid, withChildren = false }]) => {
      const own = stats.filter((stat) => stat.pid === pid || (withChildren && stat.parent === pid));
      return [
        name,
        own.reduce((sum, stat) => sum + stat.ms + (stat.pid === pid && withChildren ? stat.endedMs : 0), 0),
      ];
    }),
  );
}

/** What each part took between two looks, for one of `count` things. */
export function perThing(before: ProcessorMs, after: ProcessorMs, count: number): ProcessorMs {
  return Object.fromEntries(
    Object.entries(after).map(([name, ms]) => [name, Math.round(((ms - (before[name] ?? 0)) / count) * 1000) / 1000]),
  );
}

/** All parts together, and each. */
export function printProcessorMs(print: Print, name: string, parts: ProcessorMs, about: object): void {
  const all = Object.values(parts).reduce((sum, ms) => sum + ms, 0);
  print(name, all, 'ms', { ...about, ...parts });
}

function statOf(pid: number): { pid: number; parent: number; ms: number; endedMs: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is a name in parentheses, which may hold anything.
    const [, parent, ...rest] = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const at = (field: number): number => Number(rest[field - 5]);
    return { pid, parent: Number(parent), ms: (at(14) + at(15)) * tickMs, endedMs: (at(16) + at(17)) * tickMs };
  } catch {
    return undefined;
  }
}
