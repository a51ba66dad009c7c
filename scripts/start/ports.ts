/**
 * The ports of an installation of this machine. They are kept in its data folder, so that an address that was written down holds at
 * the next start too; where another program has one, another is taken, kept from then on, and said.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

export interface Ports {
  postgres: number;
  temporal: number;
  temporalUi: number;
  api: number;
}

export const defaultPorts: Ports = { postgres: 54329, temporal: 7233, temporalUi: 8233, api: 8088 };

const whose: Record<keyof Ports, string> = {
  postgres: "Postgres'",
  temporal: "Temporal's",
  temporalUi: "Temporal UI's",
  api: "the API's",
};
const names = Object.keys(defaultPorts) as (keyof Ports)[];

const portsFile = (dataDir: string): string => path.join(dataDir, 'ports.json');

/** The ports of the start before; the defaults where there was none, or the file says nothing that could be used. */
export async function keptPorts(dataDir: string): Promise<Ports> {
  const text = await readFile(portsFile(dataDir), 'utf8').catch(() => '{}');
  let kept: Partial<Record<string, unknown>> | null;
  try {
    kept = JSON.parse(text) as typeof kept;
  } catch {
    kept = {};
  }
  const portOf = (name: keyof Ports): number => {
    const port = kept?.[name];
    return typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65_536 ? port : defaultPorts[name];
  };
  return Object.fromEntries(names.map((name) => [name, portOf(name)])) as unknown as Ports;
}

export const keepPorts = (dataDir: string, ports: Ports): Promise<void> =>
  writeFile(portsFile(dataDir), JSON.stringify(ports), { mode: 0o600 });

/** One sentence for each port that another program has. */
export const movedPorts = (wanted: Ports, taken: Ports): string[] =>
  names
    .filter((name) => wanted[name] !== taken[name])
    .map(
      (name) =>
        `Port ${wanted[name]} (${whose[name]} ${wanted[name] === defaultPorts[name] ? 'by default' : 'until now'}) is in use by another ` +
        `program: ${taken[name]} was taken instead, and is kept for the next starts.`,
    );
