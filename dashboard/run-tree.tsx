/** The limits of a run, of what it belongs to and of what belongs to it: what each part spent and holds with all that is below it. */
import type { Run } from './api';
import { difference } from './money';
import { Table, Usd } from './parts';
import { belowEachOther } from './tree';

type Part = Run['tree'][number];

export function RunTree({ run }: { run: Run }) {
  return (
    <Table
      rows={belowEachOther(run.tree)}
      keyOf={({ runId }) => runId}
      none=""
      columns={[
        {
          name: 'Part',
          of: (part) => (
            <span title={part.runId} style={{ paddingInlineStart: `${1.25 * part.depth}rem` }}>
              {part.runId.slice(0, 8)}
              {part.runId === run.runId && <span class="faint"> this run</span>}
            </span>
          ),
        },
        { name: 'Spent', isNumber: true, of: ({ spentUsd }) => <Usd amount={spentUsd} /> },
        { name: 'Held', isNumber: true, of: ({ reservedUsd }) => <Usd amount={reservedUsd} /> },
        { name: 'Left', isNumber: true, of: (part) => <Usd amount={leftUsd(part)} isLeft /> },
        {
          name: 'Limit',
          isNumber: true,
          of: ({ limitUsd }) => (limitUsd === null ? 'none of its own' : <Usd amount={limitUsd} />),
        },
      ]}
    />
  );
}

/** What its own limit leaves; those above it may leave less. */
const leftUsd = ({ limitUsd, spentUsd, reservedUsd }: Part): string | null =>
  limitUsd === null ? null : difference(difference(limitUsd, spentUsd), reservedUsd);
