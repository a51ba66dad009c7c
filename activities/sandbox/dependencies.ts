/** What the sandbox activities are made with. */
import type { Logger } from '../../telemetry/log';
import type { DatabaseClock } from '../../store/database-clock';
import type { Pool } from '../../store/pool';
import type { PriceList } from '../../store/prices';
import type { PaidCalls } from '../budget/paid-calls';
import type { ToolSettings } from '../../tools/settings';
import type { CodeLanguage } from '../llm/instructions';
import type { SandboxConnection } from './provider';

/** What the sandbox activities work with. */
export interface SandboxDependencies {
  pool: Pool;
  connection: SandboxConnection;
  prices: () => Promise<PriceList>;
  paidCalls: PaidCalls;
  /** What a sandbox costs goes by it: one worker makes what another ends. */
  clock: DatabaseClock;
  log: Logger;
  codeLanguages: readonly CodeLanguage[];
  /** With what tools of tenants' own are called. */
  tools: ToolSettings;
  /** A younger sandbox is not swept: whoever created it may not have said so yet. */
  sweepMinAgeMs: number;
}
