/** The sandbox activities as workflows see them, and what holds where a run does not say. */

/** Of a run that does not say so: the API fills them in, and a workflow has them that somebody started by hand. */
export const sandboxDefaults = {
  windowSeconds: 300,
  /** What one program may take. */
  executionSeconds: 120,
  /** How long it runs, and then stays paused, while nobody uses it. */
  idle: { pauseSeconds: 60, killSeconds: 86_400 },
} as const;

export interface SandboxPlan {
  tier: string;
  windowSeconds: number;
  priceVersion: string;
  amountUsd: string;
}

export interface CreateSandbox {
  tenantId: string;
  runId: string;
  operationId: string;
  plan: SandboxPlan;
}

/** A sandbox that runs, in the window that an operation pays for. */
export interface OpenSandbox {
  sandboxId: string;
  /** The operation of its current window. */
  operationId: string;
  /** The price of the shape that it turned out to have. */
  priceVersion: string;
  /** When it began to be billed, in milliseconds since 1970: at its creation, or when it was last resumed. */
  startedAtMs: number;
  windowSeconds: number;
  /** When its current window began, after the first one. */
  windowStartedAtMs?: number;
  /** Whole seconds since it began to be billed that earlier windows paid for. */
  billedSeconds?: number;
  /** When it was last seen to run: as far as it is charged when it turns out to be gone. */
  lastSeenAtMs?: number;
}

/** What came of a step's tool calls in the sandbox. */
export interface Executed {
  sandboxGone: boolean;
  /** When the sandbox was last seen to run, if it was. */
  lastSeenAtMs?: number;
}

/** A new window for a sandbox, or its return from a pause, under an operation of its own. */
export interface ContinueSandbox extends CreateSandbox {
  sandbox: OpenSandbox;
}

/** What a person said of a tool call is in Postgres; which calls cost something comes with the request. */
export interface RunPaidTools extends ExecuteCode {
  operationId: string;
  /** Price per use by tool, decimal strings. */
  pricesUsd: Record<string, string>;
}

export interface ExecuteCode {
  tenantId: string;
  runId: string;
  /** Absent when none of the step's tools needs one. */
  sandbox?: OpenSandbox;
  /** The step whose tool calls are run. */
  step: number;
  /** How long one program may run. */
  executionSeconds?: number;
}

export interface TerminateSandbox {
  tenantId: string;
  runId: string;
  operationId: string;
  plan: SandboxPlan;
  /** Absent when the reply to its creation was lost: it is then looked for by its operation id. */
  sandbox?: OpenSandbox;
}

/** Runs on the sandbox queue. */
export interface SandboxActivities {
  /** Prices one window of a tier. */
  prepareSandbox(request: { tier: string; windowSeconds: number }): Promise<SandboxPlan>;
  /** Creates a sandbox that ends by itself after its window, with the run's file in it. It stays claimed until it ends. */
  createSandbox(request: CreateSandbox): Promise<OpenSandbox>;
  /** Runs the code of a step's tool calls, which it reads from the transcript, and writes their output there. */
  executeCode(request: ExecuteCode): Promise<Executed>;
  /** The same, for tools that have a price: it is written with their output. */
  runPaidTools(request: RunPaidTools): Promise<Executed>;
  /** Ends the sandbox and writes what it cost. A repeat changes nothing. Fails as `sandbox_failed` when the provider does not end it. */
  terminateSandbox(request: TerminateSandbox): Promise<void>;
  /** Begins a new window now and writes what the one before cost. Claims the new window's operation. */
  extendSandbox(request: ContinueSandbox): Promise<OpenSandbox>;
  /**
   * Pauses the sandbox and writes what its window cost. False when it was gone; its cost is written in any case. Fails as
   * `sandbox_failed` when the provider does neither.
   */
  pauseSandbox(request: Omit<ContinueSandbox, 'operationId'>): Promise<{ paused: boolean; costUsd?: string }>;
  /** Brings a paused sandbox back, for a window. Claims the window's operation. Fails as `sandbox_failed` when it does not come back. */
  resumeSandbox(request: ContinueSandbox): Promise<OpenSandbox>;
  /** Ends a paused sandbox, which costs nothing. */
  discardSandbox(request: { tenantId: string; runId: string; sandboxId: string }): Promise<void>;
}

/** Runs on the sandbox queue, started by a schedule. */
export interface SweepActivities {
  /** Ends sandboxes of this installation that no open run owns, and writes what they cost. Answers how many. */
  sweepSandboxes(): Promise<number>;
}
