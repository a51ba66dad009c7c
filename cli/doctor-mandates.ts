/** What `npx spendlock doctor` says of mandates: for how many tenants who asks decides, and why not for the others. */
import type { ClientBase } from 'pg';
import { counted } from '../core/counted';
import { deciderFrom } from '../store/decider';
import { decidingProcesses } from '../store/deciding-processes';
import { allowCommand, readMandateGroups, recalledWords, type MandateGroup } from '../store/mandates';
import type { WhyNotDirect } from '../store/mandate-reasons';
import { ok, skipped, wrong, type Finding } from './findings';

/** So many tenants are named. */
const namedMax = 5;

/** What is said of tenants that nothing is decided directly for. What passes by itself, or is as it should be, is not wrong. */
const sayings: Record<Exclude<WhyNotDirect, 'off' | 'far' | 'standing'>, string> = {
  recalled: 'Recalled, and not allowed again',
  never_opened: 'Never asked often enough (three reserves within a minute), or the workers have SPENDLOCK_MANDATES=off',
  closed:
    'Closed: the worker that recorded last has SPENDLOCK_MANDATES off, other rules or the version before, or a recall was ended and nobody asked often enough since',
  run_out: 'Run out: nobody asked for some minutes',
  other_rules:
    'Open for other rules than those of this environment: workers and API differ in their version, ENFORCE_COST_QUOTAS or ENFORCE_E2B_QUOTAS',
  platform_waited_for: 'A call needs more of the platform’s quota than is free, so the authority decides',
};

export async function mandatesOf(client: ClientBase, environment: NodeJS.ProcessEnv): Promise<Finding[]> {
  const { enforced, decides } = deciderFrom(environment);
  try {
    const groups = await readMandateGroups(client, { enforced }, namedMax);
    return [...findings(groups, decides), ...(await processesOf(client, decides))];
  } catch {
    return [skipped('mandates', 'They could not be read.')];
  }
}

function findings(groups: readonly MandateGroup[], decides: boolean): Finding[] {
  const all = groups.reduce((sum, { tenants }) => sum + tenants, 0);
  const late = groups.reduce((sum, one) => sum + one.late, 0);
  const codes = Object.keys(sayings) as (keyof typeof sayings)[];
  // Where nothing is to be decided directly, only what an operator ordered is worth a line.
  const shown = codes.filter((code) => decides || code === 'recalled').map((code) => [code, of(groups, code)] as const);
  return [
    summary({ all, open: of(groups, undefined), decides }),
    ...shown.flatMap(([code, found]) => (found.tenants === 0 ? [] : [ok(`mandates: ${code}`, saidOf(code, found))])),
    ...(late === 0
      ? []
      : [
          wrong(
            'mandates: late',
            `${counted(late, 'authority', 'authorities')} did not do for two minutes what direct decisions left to do. Look whether a worker of the queue for budgets runs, and look-after.`,
          ),
        ]),
  ];
}

/** Whether those that ask are prompt enough to decide. */
async function processesOf(client: ClientBase, decides: boolean): Promise<Finding[]> {
  const found = await decidingProcesses(client);
  if (found.length === 0)
    return decides
      ? [
          ok(
            'mandates: processes',
            'None that may decide asked for money within a minute, or it is off where they are.',
          ),
        ]
      : [];
  const late = found.filter(({ state }) => state !== 'prompt');
  const says = late.map(({ processId, address, state }) => {
    const why = state === 'far' ? 'is too far from Postgres' : 'stood still a moment ago';
    return `${processId}${address === null ? '' : ` at ${address}`} ${why} and signals`;
  });
  const deciding = `${counted(found.length - late.length, 'process decides', 'processes decide')}`;
  return [ok('mandates: processes', `${[deciding, ...says].join('; ')}.`)];
}

type Found = Pick<MandateGroup, 'tenants' | 'named'>;

/** The tenants of which a reason holds; without one those that are decided for directly. */
function of(groups: readonly MandateGroup[], code: WhyNotDirect | undefined): Found {
  const those = groups.filter(({ why }) => (code === undefined ? why.length === 0 : why.includes(code)));
  const named = those.flatMap((one) => one.named).sort((one, other) => (one.tenantId < other.tenantId ? -1 : 1));
  return { tenants: those.reduce((sum, { tenants }) => sum + tenants, 0), named: named.slice(0, namedMax) };
}

function summary({ all, open, decides }: { all: number; open: Found; decides: boolean }): Finding {
  const those = `${open.tenants} of ${counted(all, 'tenant')}`;
  if (decides)
    return ok(
      'mandates',
      `On here: who asks decides directly for ${those}${open.tenants === 0 ? '' : ` (${names(open)})`}.`,
    );
  const others = open.tenants === 0 ? '' : ` Workers elsewhere have it on: mandates are open for ${those}.`;
  return ok('mandates', `Off here (SPENDLOCK_MANDATES): nothing is decided directly.${others}`);
}

function saidOf(code: keyof typeof sayings, found: Found): string {
  if (code !== 'recalled') return `${sayings[code]}: ${names(found)}.`;
  const whose = found.named.map(
    (one) => `${one.tenantId} (since ${one.recalledAt?.slice(0, 16)}${recalledWords(one)})`,
  );
  return `${sayings.recalled}: ${whose.join('; ')}${andMore(found)}. To allow it: ${allowCommand('TENANT')}`;
}

const names = (found: Found): string => `${found.named.map(({ tenantId }) => tenantId).join(', ')}${andMore(found)}`;
const andMore = ({ tenants, named }: Found): string =>
  tenants > named.length ? ` and ${tenants - named.length} more` : '';
