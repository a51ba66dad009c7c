/** Parts of a tree as a table shows them: each right below what it belongs to. */
interface Part {
  runId: string;
  parentRunId: string | null;
}

/** The parts in their order, and how deep each stands. One whose parent is not among them stands at the top. */
export function belowEachOther<P extends Part>(parts: readonly P[]): (P & { depth: number })[] {
  const ids = new Set(parts.map(({ runId }) => runId));
  const parentOf = ({ parentRunId }: Part): string | null =>
    parentRunId !== null && ids.has(parentRunId) ? parentRunId : null;
  const below = (parent: string | null, depth: number): (P & { depth: number })[] =>
    parts
      .filter((part) => parentOf(part) === parent)
      .flatMap((part) => [{ ...part, depth }, ...below(part.runId, depth + 1)]);
  return below(null, 0);
}
