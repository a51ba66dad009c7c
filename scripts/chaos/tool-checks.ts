/** What the books have to say of calls of tools: by SQL of its own, and by what the tools' server heard. */
import { parseUsd, sumUsd } from '../../core/money';
import { runWorkflowId } from '../../contracts/messages';
import { replySequence } from '../../store/transcripts';
import type { Installation } from './installation';
import type { Hold } from './scene';
import { toolsTenant, type AskedCall, type ToolRuns } from './tool-runs';
import { ways, type ToolServer } from './tool-server';

interface StepRow {
  runId: string;
  step: number;
  /** When its first operation was decided, and its last one ended, in milliseconds since 1970. */
  fromMs: number;
  toMs: number;
  operations: number;
  /** What was charged by those that an outcome is on record of, and by the others, of which nobody can tell. */
  toldUsd: string;
  untoldUsd: string;
  /** How many of them are charged as unverified. */
  unverified: number;
  /** What was charged though nothing was claimed. */
  unclaimedUsd: string;
}

const stepRows = `
  SELECT r.run_id::text AS "runId", r.step, count(*)::integer AS operations,
         (extract(epoch FROM min(r.decided_at)) * 1000)::float8 AS "fromMs",
         (extract(epoch FROM max(coalesce(r.ended_at, r.decided_at))) * 1000)::float8 AS "toMs",
         trim_scale(coalesce(sum(c.usd) FILTER (WHERE r.outcome IS NOT NULL), 0))::text AS "toldUsd",
         trim_scale(coalesce(sum(c.usd) FILTER (WHERE r.outcome IS NULL), 0))::text AS "untoldUsd",
         (count(*) FILTER (WHERE r.settlement = 'unverified'))::integer AS unverified,
         trim_scale(coalesce(sum(c.usd) FILTER (WHERE r.claimed_at IS NULL), 0))::text AS "unclaimedUsd"
  FROM copilot_internal.reservations r
  LEFT JOIN LATERAL (SELECT sum(amount_usd) AS usd FROM copilot_internal.cost_records
                     WHERE tenant_id = r.tenant_id AND operation_id = r.operation_id) AS c ON true
  WHERE r.tenant_id = $1 AND r.kind = 'tool.call' AND r.status NOT IN ('denied', 'rejected') GROUP BY r.run_id, r.step`;

/** Which calls a model's reply has, and whether a person refused them, or was asked for nothing any more. */
const callRows = `
  SELECT m.run_id::text AS "runId", m.sequence, b -> 'input' ->> 'mark' AS mark,
         coalesce(a.status IN ('refused', 'withdrawn'), false) AS "isRefused"
  FROM copilot_internal.transcript_messages m CROSS JOIN LATERAL jsonb_array_elements(m.content) AS b
  LEFT JOIN copilot_internal.approvals a ON a.run_id = m.run_id AND a.tool_use_id = b ->> 'id'
  WHERE m.tenant_id = $1 AND m.role = 'assistant' AND b ->> 'type' = 'tool_use'`;

interface CallRow {
  runId: string;
  sequence: number;
  mark: string;
  isRefused: boolean;
}

export interface ToolFigures {
  /** Calls that were heard; steps with a price that are charged, in part or whole, as unverified. */
  toolCalls: number;
  toolsUnverified: number;
}

/** At any time: no call was heard twice. */
export function checkCalledOnce(installation: Installation, hold: Hold): void {
  for (const [mark, atMs] of installation.tools?.heard ?? []) {
    const isLost = atMs.length > 1 && installation.lostBetween(atMs[0] ?? 0, atMs.at(-1) ?? 0);
    hold('a tool is called once', atMs.length === 1 || isLost, () => `${mark} was heard at ${atMs.join(', ')}`);
  }
}

/** Once everything has ended. */
export async function checkTools(installation: Installation, runs: ToolRuns, hold: Hold): Promise<ToolFigures> {
  const { tools: server, admin } = installation;
  if (!server) return { toolCalls: 0, toolsUnverified: 0 };
  hold('a tool is called with its credential', server.strangers === 0, () => `${server.strangers} calls without it`);
  const { rows: calls } = await admin.query<CallRow>(callRows, [toolsTenant]);
  const { rows: steps } = await admin.query<StepRow>(stepRows, [toolsTenant]);
  const known = new Set(calls.map(({ mark }) => mark));
  for (const [mark, atMs] of server.heard)
    hold(
      'a call of a tool is in its transcript',
      known.has(mark) || atMs.some((ms) => installation.lostBetween(ms - answeredMs, ms)),
      () => `${mark}, ${runs.asked.get(mark)?.tool.name}`,
    );
  for (const { mark, isRefused, runId } of calls)
    hold('what a person refused is not called', !isRefused || !server.heard.has(mark), () => `${mark} of ${runId}`);
  for (const step of steps) {
    const own = calls
      .filter(({ runId, sequence }) => runId === step.runId && sequence === replySequence(step.step))
      .flatMap(({ mark }) => runs.asked.get(mark) ?? []);
    if (!installation.lostBetween(step.fromMs, step.toMs)) checkStep({ installation, server, runs, hold }, step, own);
  }
  await checkSecrecy(installation, server.secret, hold);
  return {
    toolCalls: [...server.heard.values()].reduce((sum, atMs) => sum + atMs.length, 0),
    toolsUnverified: steps.filter(({ unverified }) => unverified > 0).length,
  };
}

/** What a model answered is on record by then. */
const answeredMs = 60_000;
/** Of another process's clock, and of what was on its way. */
const aroundMs = 2_000;

function checkStep(
  { installation, server, runs, hold }: { installation: Installation; server: ToolServer; runs: ToolRuns; hold: Hold },
  step: StepRow,
  own: readonly AskedCall[],
): void {
  // Of these nobody can tell whether a call that was refused, or not heard, was one: its connection may have been cut.
  const isCut = server.wasGone(step.fromMs - aroundMs, step.toMs + aroundMs);
  const isStopped = runs.cancelled.has(step.runId) || installation.resets.has(runWorkflowId(step.runId));
  const duesOf = ({ mark, tool }: AskedCall): { least: bigint; most: bigint } => {
    const usd = parseUsd(tool.priceUsd ?? '0');
    const isHeard = server.heard.has(mark);
    const isDue = isHeard && ways[tool.way][tool.kind] !== 'no';
    const mayBeDue = isDue || isCut || (isHeard && isStopped);
    return { least: isDue ? usd : 0n, most: mayBeDue ? usd : 0n };
  };
  const dues = own.map(duesOf);
  const [toldUsd, untoldUsd] = [parseUsd(step.toldUsd), parseUsd(step.untoldUsd)];
  const what = (): string =>
    `${JSON.stringify(step)}: ${own.map(({ mark, tool }) => `${tool.name} at ${tool.priceUsd ?? 0}, ${server.heard.has(mark) ? 'heard' : 'not heard'}`).join(', ')}`;
  hold('a call of a tool is charged', toldUsd + untoldUsd >= sumUsd(dues.map(({ least }) => least)), what);
  hold('a call of a tool is charged once', toldUsd <= sumUsd(dues.map(({ most }) => most)), what);
  hold('what was not begun costs nothing', step.unclaimedUsd === '0', what);
  const isUnknown = own.some(
    ({ mark, tool: { way, kind, priceUsd } }) =>
      priceUsd !== undefined && server.heard.has(mark) && ways[way][kind] === 'unknown',
  );
  hold('what nobody can tell of a tool is unverified', !isUnknown || step.unverified > 0, what);
}

const tables = `
  SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 'copilot_internal' ORDER BY 1`;

/** A credential is in no row, no history and no log. */
async function checkSecrecy(installation: Installation, secret: string, hold: Hold): Promise<void> {
  const { admin, temporal } = installation;
  const spellings = [secret, ...(['base64', 'hex'] as const).map((code) => Buffer.from(secret).toString(code))];
  const shows = (text: string): boolean => spellings.some((spelling) => text.includes(spelling));
  const promise = 'a credential is kept nowhere';
  const { rows } = await admin.query<{ name: string }>(tables);
  for (const { name } of rows) {
    const sql = `SELECT FROM ${name} AS t WHERE t::text LIKE ANY ($1) LIMIT 1`;
    const { rowCount } = await admin.query(sql, [spellings.map((spelling) => `%${spelling}%`)]);
    hold(promise, rowCount === 0, () => `${name} has a row with it`);
  }
  const { rows: runs } = await admin.query<{ workflowId: string }>(
    'SELECT workflow_id AS "workflowId" FROM copilot_internal.runs WHERE tenant_id = $1',
    [toolsTenant],
  );
  for (const { workflowId } of runs) {
    const history = await temporal.workflow.getHandle(workflowId).fetchHistory();
    hold(promise, !shows(textIn(history)), () => `the history of ${workflowId} has it`);
  }
  const logged = installation.processes.logged();
  if (logged) hold(promise, !spellings.some((spelling) => logged.includes(spelling)), () => 'a log has it');
}

/** All of a message in words, its payloads among them. */
export function textIn(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString();
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.values(value).map(textIn).join('\n');
}
