/** How a build is broken on purpose: the text of its functions, its triggers, and its sources as its processes read them. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';

/** Text of a source file, which is there once, and what stands there instead. */
export interface SourceChange {
  file: string;
  from: string;
  to: string;
}

/** A build that is broken on purpose; `Fault` names what can be injected. */
export interface BrokenBuild<Fault extends string = string> {
  what: string;
  /** The promises that are broken without the safeguard: one of them has to be told. */
  told: readonly string[];
  sql?: string;
  sources?: readonly SourceChange[];
  /** A standby takes over while the first Postgres still answers. */
  isUnfenced?: boolean;
  /** Its processes decide under mandates. Of another build only authorities decide, whatever is asked for. */
  mandates?: boolean;
  /** Other people's agents take part. */
  doors?: boolean;
  /** What the safeguard is for: nothing else is injected. All faults where none are named. */
  faults?: readonly Fault[];
}

const root = path.join(__dirname, '..', '..');

/** @throws Error when a text that a build replaces is not in its file, or is there more than once. */
export async function assertSources({ sources = [] }: Partial<BrokenBuild>): Promise<void> {
  for (const { file, from } of sources) {
    const places = (await readFile(path.join(root, file), 'utf8')).split(from).length - 1;
    if (places !== 1) throw new Error(`${file} has what is broken ${places} times: break it in another way`);
  }
}

/** What the processes of a build with changed sources are started with: see broken-source.cjs. */
export function brokenSource(
  { sources = [] }: Partial<BrokenBuild>,
  appliedFile: string,
): { execArgv: string[]; env: Record<string, string> } {
  if (sources.length === 0) return { execArgv: [], env: {} };
  return {
    execArgv: ['--require', path.join(__dirname, 'broken-source.cjs')],
    env: { SPENDLOCK_CHAOS_BROKEN_SOURCE: JSON.stringify({ root, changes: sources, appliedFile }) },
  };
}

/** @throws Error when no process read a file that was to be changed. */
export async function assertApplied({ sources = [] }: Partial<BrokenBuild>, appliedFile: string): Promise<void> {
  const applied = await readFile(appliedFile, 'utf8').catch(() => '');
  for (const { file, from } of sources)
    if (!applied.includes(JSON.stringify(from))) throw new Error(`No process read ${file}: nothing was broken there`);
}

/** A trigger that does something else than was asked with a reservation that changes. */
export function beforeUpdate(condition: string, change: string): string {
  return `
    CREATE FUNCTION copilot_internal.break_it() RETURNS trigger LANGUAGE plpgsql AS $break$
    BEGIN ${change}; RETURN NEW; END $break$;
    CREATE TRIGGER a_broken_build BEFORE UPDATE ON copilot_internal.reservations FOR EACH ROW
      WHEN (${condition}) EXECUTE FUNCTION copilot_internal.break_it();`;
}

/** What a reservation held stays on its tenant's limits when it ends as `condition` says. */
export const holdsLeft = (condition: string): string => `
  CREATE FUNCTION copilot_internal.leak() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $leak$
  BEGIN
    UPDATE copilot_internal.cost_quotas SET reserved_usd = reserved_usd + NEW.granted_usd
    WHERE tenant_id = NEW.tenant_id AND scope = 'tenant' AND resource_type IN ('all', NEW.resource);
    RETURN NULL;
  END $leak$;
  CREATE TRIGGER leak AFTER UPDATE ON copilot_internal.reservations FOR EACH ROW
    WHEN (OLD.status = 'granted' AND ${condition}) EXECUTE FUNCTION copilot_internal.leak();`;

/** Changes the text of a function as it stands, and fails when the text is not there. */
export function replaceInFunction(name: string, from: string, to: string): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  return `
    DO $change$
    DECLARE
      -- Of several of a name the one that has it.
      v_old text := (SELECT of_name.text FROM (
        SELECT pg_get_functiondef(oid) AS text FROM pg_proc WHERE proname = ${quote(name)} OFFSET 0) AS of_name
        WHERE position(${quote(from)} IN of_name.text) > 0);
    BEGIN
      IF v_old IS NULL THEN RAISE EXCEPTION '${name} has changed: break it in another way'; END IF;
      EXECUTE replace(v_old, ${quote(from)}, ${quote(to)});
    END $change$;`;
}
