/** What the pages are made of. */
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { asNumber, showLeft, showUsd } from './money';

/** What the tab and the history call this page: the narrowest place first. */
export function useTitle(...names: string[]): void {
  const title = [...names, 'Spendlock'].join(' · ');
  useEffect(() => {
    document.title = title;
  }, [title]);
}

export function Usd({ amount, isLeft = false }: { amount: string | null | undefined; isLeft?: boolean }) {
  if (amount === null || amount === undefined) return <span class="faint">–</span>;
  return (
    <span class="number" title={`$${amount}`}>
      {isLeft ? showLeft(amount) : showUsd(amount)}
    </span>
  );
}

export function Moment({ at }: { at: string | null | undefined }) {
  if (!at) return <span class="faint">–</span>;
  const date = new Date(at);
  return (
    <time dateTime={at} title={at}>
      {date.toLocaleString('en-GB', {
        day: 'numeric',
        month: 'short',
        hour: '2-digit',
        minute: '2-digit',
        second: '2-digit',
      })}
    </time>
  );
}

/** How much of a limit is spent and reserved, in words for those who do not see the bar. */
export function Meter({
  spentUsd,
  reservedUsd,
  limitUsd,
}: {
  spentUsd: string;
  reservedUsd: string;
  limitUsd: string;
}) {
  const limit = asNumber(limitUsd);
  const share = (amount: string): number => (limit <= 0 ? 100 : Math.min(100, (100 * asNumber(amount)) / limit));
  const spent = share(spentUsd);
  const reserved = Math.min(100 - spent, share(reservedUsd));
  const used = spent + reserved;
  return (
    <div
      class={`meter ${used >= 100 ? 'full' : used >= 80 ? 'high' : ''}`}
      role="meter"
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(used)}
      aria-label={`${Math.round(spent)} % spent, ${Math.round(reserved)} % reserved`}
    >
      <span class="spent" style={{ width: `${spent}%` }} />
      <span class="reserved" style={{ width: `${reserved}%` }} />
    </div>
  );
}

export function Status({ status }: { status: string }) {
  return <span class={`status ${status}`}>{status.replaceAll('_', ' ')}</span>;
}

/** The mark of a call that goes on without a grant. */
/** What an envelope is, of which what is shown as held is the rest, and what a part is one of. */
export function OfEnvelope({
  envelope,
  parentOperationId,
}: {
  envelope?: { amountUsd: string } | null;
  parentOperationId?: string | null;
}) {
  if (envelope)
    return (
      <span title="Money that is reserved once, and spent in parts. What is shown as held is what no part has taken.">
        left for parts of an envelope of <Usd amount={envelope.amountUsd} />
      </span>
    );
  return parentOperationId == null ? null : (
    <div class="faint" title={parentOperationId}>
      part of an envelope
    </div>
  );
}

export function Unreserved({ unreserved, allowedUsd }: { unreserved: boolean; allowedUsd: string | null }) {
  if (!unreserved) return null;
  return (
    <div
      class="status unreserved"
      title="Let through without a grant, since its authority did not answer. It holds nothing."
    >
      up to <Usd amount={allowedUsd} /> unreserved
    </div>
  );
}

export function Card({
  title,
  children,
  wide = false,
}: {
  title: string;
  children: ComponentChildren;
  wide?: boolean;
}) {
  return (
    <section class={wide ? 'card wide' : 'card'} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

export interface Column<T> {
  name: string;
  of: (row: T) => ComponentChildren;
  /** Figures stand under each other. */
  isNumber?: boolean;
}

interface TableProps<T> {
  columns: Column<T>[];
  rows: readonly T[];
  keyOf: (row: T) => string;
  /** Said when there are no rows. */
  none: string;
  max?: number;
  /** Fetches more rows; absent when these are all. */
  onMore?: (() => void) | undefined;
}

/** A table; a long one shows its beginning until asked for all that is here, and then for what is not. */
export function Table<T>({ columns, rows, keyOf, none, max = 10, onMore }: TableProps<T>) {
  const [isWhole, setIsWhole] = useState(false);
  if (rows.length === 0) return <p class="faint">{none}</p>;
  const shown = isWhole ? rows : rows.slice(0, max);
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            {columns.map(({ name, isNumber }) => (
              <th key={name} scope="col" class={isNumber ? 'number' : ''}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map(({ name, of, isNumber }) => (
                <td key={name} class={isNumber ? 'number' : ''} data-name={name}>
                  {of(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > max && (
        <button class="quiet" onClick={() => setIsWhole(!isWhole)}>
          {isWhole ? 'Show fewer' : onMore ? `Show the latest ${rows.length}` : `Show all ${rows.length}`}
        </button>
      )}
      {onMore && (isWhole || rows.length <= max) && (
        <button class="quiet" onClick={onMore}>
          Show older
        </button>
      )}
    </div>
  );
}

const savedByCaches: Column<{ cacheSavedUsd: string }> = {
  name: 'Saved by caches',
  isNumber: true,
  of: ({ cacheSavedUsd }) => <Usd amount={cacheSavedUsd} />,
};

/** Shares of a whole, the largest first; with what caches saved of each, where they did. */
export function Shares({
  lines,
  none,
}: {
  /** With what happens when one is chosen. */
  lines: readonly {
    group: string;
    costUsd: string;
    cacheSavedUsd: string;
    operations: number;
    onChoice?: () => void;
  }[];
  none: string;
}) {
  const most = Math.max(...lines.map(({ costUsd }) => asNumber(costUsd)), 0);
  const width = (costUsd: string): string => `${most <= 0 ? 0 : Math.max(0, (100 * asNumber(costUsd)) / most)}%`;
  return (
    <Table
      rows={lines}
      keyOf={({ group }) => group}
      none={none}
      max={6}
      columns={[
        {
          name: 'What',
          of: ({ group, costUsd, onChoice }) => (
            <div class="share">
              <span class="fill" style={{ width: width(costUsd) }} />
              {onChoice ? (
                <button class="label" title="Show this only" onClick={onChoice}>
                  {group}
                </button>
              ) : (
                <span class="label">{group === '' ? 'none' : group}</span>
              )}
            </div>
          ),
        },
        ...(lines.some(({ cacheSavedUsd }) => cacheSavedUsd !== '0') ? [savedByCaches] : []),
        { name: 'Operations', isNumber: true, of: ({ operations }) => operations.toLocaleString('en-US') },
        { name: 'Spent', isNumber: true, of: ({ costUsd }) => <Usd amount={costUsd} /> },
      ]}
    />
  );
}

export function Problem({ text }: { text: string | undefined }) {
  return text === undefined ? null : (
    <p class="problem" role="alert">
      {text}
    </p>
  );
}

/** Whether what is shown is as of now. */
export function LiveMark({ isLive }: { isLive: boolean }) {
  return (
    <span class={isLive ? 'live on' : 'live'} role="status">
      {isLive ? 'live' : 'reconnecting …'}
    </span>
  );
}

interface TitleProps {
  name: string;
  isLive: boolean;
  /** What can be filtered, in words. */
  filters: string;
  filter: string;
  onFilter: (text: string) => void;
  children?: ComponentChildren;
}

/** The head of a page whose tables can be filtered. */
export function Title({ name, isLive, filters, filter, onFilter, children }: TitleProps) {
  return (
    <div class="title">
      <h1>{name}</h1>
      {children}
      <LiveMark isLive={isLive} />
      <input
        type="search"
        aria-label={`Filter ${filters}`}
        placeholder={`Filter ${filters}   /`}
        value={filter}
        onInput={({ currentTarget }) => onFilter(currentTarget.value)}
      />
    </div>
  );
}
