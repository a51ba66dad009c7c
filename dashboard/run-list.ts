/** The latest runs and conversations of a tenant, and as many older ones as its reader asks for. */
import { useEffect, useState } from 'preact/hooks';
import type { Api, Overview, RunSummary } from './api';

export type ListedRun = RunSummary & { kind: 'task' | 'conversation' };

/** As many are asked for at once, and are shown at the most. */
const runsMax = 50;
const runsShownMax = 2_000;
const newestFirst = (runs: readonly ListedRun[]): ListedRun[] =>
  [...runs].sort((a, b) => b.createdAt.localeCompare(a.createdAt));

/** The latest runs, asked for again when the overview changes, and as many older ones as were asked for. */
export function useRuns(
  api: Api,
  tenantId: string,
  overview: Overview | undefined,
): { runs: ListedRun[]; onMore: (() => void) | undefined } {
  const [runs, setRuns] = useState<ListedRun[]>([]);
  const [hasMore, setHasMore] = useState<boolean>();
  const list = async (kind: ListedRun['kind'], before?: string): Promise<ListedRun[]> => {
    const query = new URLSearchParams({ tenantId, type: kind, limit: String(runsMax), ...(before && { before }) });
    const { runs: found } = await api.get<{ runs: RunSummary[] }>(`/v1/runs?${query.toString()}`);
    return found.map((run) => ({ ...run, kind }));
  };
  /** Of both kinds the newest, as far as both are known. */
  const page = async (before?: string): Promise<{ found: ListedRun[]; isFull: boolean }> => {
    const both = await Promise.all([list('task', before), list('conversation', before)]);
    const found = newestFirst(both.flat());
    return {
      found: found.slice(0, runsMax),
      isFull: found.length > runsMax || both.some((one) => one.length === runsMax),
    };
  };
  const add = (found: readonly ListedRun[]): void => {
    const ids = new Set(found.map(({ runId }) => runId));
    setRuns((known) => newestFirst([...found, ...known.filter(({ runId }) => !ids.has(runId))]).slice(0, runsShownMax));
  };
  useEffect(() => {
    let isCurrent = true;
    page()
      .then(({ found, isFull }) => {
        if (!isCurrent) return;
        add(found);
        setHasMore((had) => had ?? isFull);
      })
      // The stream says that the API is away, and brings us back here.
      .catch(() => undefined);
    return () => {
      isCurrent = false;
    };
  }, [overview]);
  const onMore = (): void => {
    page(runs.at(-1)?.createdAt)
      .then(({ found, isFull }) => {
        add(found);
        setHasMore(isFull);
      })
      .catch(() => undefined);
  };
  return { runs, onMore: hasMore && runs.length < runsShownMax ? onMore : undefined };
}
