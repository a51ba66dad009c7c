/** What every route is given: its process' connections and what is shared by all requests. */
import type { Client } from '@temporalio/client';
import type { Logger } from '../../telemetry/log';
import type { Enforced } from '../../core/budget/commands';
import type { AuthorityClient } from '../../authority/client/authority-client';
import type { Operator } from '../../store/operator';
import type { Pool } from '../../store/pool';
import type { PriceList } from '../../store/prices';
import type { ToolSettings } from '../../tools/settings';
import type { Policies, Prices, Tenants } from './lookups';
import type { Callers } from './callers';
import type { ApiContext } from './request';
import type { LiveViews } from './live-views';
import type { LongAnswers, LongKind, LongLimits } from './long-answers';
import type { SocketLimits, UntakenAnswers } from './sockets';
import type { RunLooks, RunWatchers } from '../runs/run-watchers';
import { ApiError } from './errors';

/** Temporal's UI, and what shows traces. */
export interface Links {
  workflow?: string;
  trace?: string;
}

/** What a process that serves the API brings. */
export interface ProcessDependencies {
  pool: Pool;
  temporal: Client;
  log: Logger;
  taskQueuePrefix: string;
  defaultModel: string;
  prices: () => Promise<PriceList>;
  /** With what tools of tenants' own are tried; calls are made by workers. Without it public addresses alone, without credentials. */
  tools?: ToolSettings | undefined;
  /** Whether quotas of a resource bind (requirement Q1). */
  enforced: Enforced;
  /** Whether this process decides by itself where a tenant's authority lets it. */
  mandates?: boolean;
  /** Where else an operator looks: addresses with {workflowId} or {traceId} in them. */
  links?: Links | undefined;
  /** Requests of one key within a second that one process takes; without it they are not counted. */
  rateLimitPerSecond?: number | undefined;
  /** Pages that may call the API from a browser; none by default. */
  corsOrigins?: readonly string[] | undefined;
  /** How many event streams and exports may be open, and how long; set apart in tests. */
  longLimits?: Record<LongKind, LongLimits> | undefined;
  /** What a connection may have under way, and answers that nobody has read; set apart in tests. */
  socketLimits?: SocketLimits | undefined;
  /** How often event streams of runs look by themselves; set apart in tests. */
  runLooks?: RunLooks | undefined;
  /** Ends open event streams. */
  closing: AbortSignal;
}

/** What the routes ask of the authorities. */
export type Authority = Pick<
  AuthorityClient,
  'reserve' | 'writeOutcome' | 'fold' | 'folded' | 'releaseUnknown' | 'send' | 'reload' | 'close'
>;

export interface ApiDependencies extends ProcessDependencies {
  authority: Authority;
  callers: Callers;
  tenants: Tenants;
  policies: Policies;
  /** Prices as of some seconds ago, for gates. */
  recentPrices: Prices;
  watchers: RunWatchers;
  /** What many watch is read once. */
  views: LiveViews;
  /** Event streams and exports, all of which are made by it. */
  longAnswers: LongAnswers;
  /** Answers that were made and are not read yet. */
  untaken: UntakenAnswers;
  /** Connections of event streams, and of exports: what nobody reads, or many watch, takes none that others need. */
  streamPool: Pool;
  exportPool: Pool;
}

/** Who orders a change: the person named, or the key when nobody is. */
export const operatorOf = (
  { apiKeyId }: { apiKeyId: string },
  author = `API key ${apiKeyId}`,
): Operator & { apiKeyId: string } => ({ apiKeyId, author });

/**
 * The tenant that a request is about. A tenant's key is for that tenant alone. Whether there is the tenant that the administration
 * names is looked up again where something is changed, or what was ordered for a tenant that was just deleted would be answered as
 * done; `remembered` where what follows finds out by itself.
 */
export async function tenantFor(
  c: ApiContext,
  { tenants }: ApiDependencies,
  named: string | undefined,
  { remembered = c.req.method === 'GET' || c.req.method === 'HEAD' } = {},
): Promise<string> {
  const { tenantId: own } = c.get('caller');
  if (own !== undefined) {
    if (named !== undefined && named !== own)
      throw new ApiError('forbidden', 'This key is for another tenant. Nothing was done.');
    return own;
  }
  if (named === undefined)
    throw new ApiError('invalid_request', 'tenantId: an administration key has to name the tenant. Nothing was done.');
  if (!(await (remembered ? tenants.of(named) : tenants.anew(named)))) {
    throw new ApiError('unknown_tenant', `There is no tenant ${JSON.stringify(named)}. Nothing was done.`);
  }
  return named;
}
