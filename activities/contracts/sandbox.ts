/** The sandbox activities as workflows see them: types only. */

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

export interface OpenSandbox {
  sandboxId: string;
  operationId: string;
  /** The price of the shape that it turned out to have. */
  priceVersion: string;
  /** When it began to be billed, in milliseconds since 1970. */
  startedAtMs: number;
  windowSeconds: number;
}

export interface ExecuteCode {
  tenantId: string;
  runId: string;
  sandbox: OpenSandbox;
  /** The step whose tool calls are run. */
  step: number;
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
  executeCode(request: ExecuteCode): Promise<{ sandboxGone: boolean }>;
  /** Ends the sandbox and writes what it cost. A repeat changes nothing. */
  terminateSandbox(request: TerminateSandbox): Promise<void>;
}
