/** How a stand-in can be made to misbehave, in-process or by `PUT /__stand-in/knobs`. */

/** What happens to the next billable call. */
export type Fault =
  /** An HTTP error before any output, in the provider's own shape. */
  | { type: 'status'; status: number; retryAfterSeconds?: number }
  /** The connection is closed before any answer. */
  | { type: 'refuse' }
  /** The stream ends after its first output, before usage is final. */
  | { type: 'cut-before-usage' }
  /** The stream ends after the final usage, before its end. */
  | { type: 'cut-after-usage' }
  /** Silence after the first output. */
  | { type: 'hang' }
  /** Bytes that are no answer. */
  | { type: 'nonsense' };

/** A fixed reply in place of the script's. */
export interface FixedReply {
  text?: string;
  code?: string;
  /** Calls of other tools than `run_code`. */
  tools?: { name: string; input: Record<string, unknown> }[];
}

export interface ModelKnobs {
  /** Before the first byte of an answer. */
  latencyMs: number;
  /** Between two pieces of a streamed answer. */
  deltaSpacingMs: number;
  /** One fault a call, in order. */
  failNext: Fault[];
  /** Merged over the usage that is reported. */
  usage: Record<string, unknown> | undefined;
  /** One fixed reply a call, in order. */
  replies: FixedReply[];
}

export const modelKnobs = (): ModelKnobs => ({
  latencyMs: 0,
  deltaSpacingMs: 0,
  failNext: [],
  usage: undefined,
  replies: [],
});

export interface E2bKnobs {
  latencyMs: number;
  /** One HTTP status a creation, in order. */
  failCreateNext: number[];
  /** Creations whose sandbox is made and whose reply is lost. */
  loseCreateReplies: number;
  /** While it is set, every request but creations' own knobs is answered with this status: the provider is ill. */
  illWith: number | undefined;
  /** One HTTP status a resumption, in order; with `after` the sandbox comes back and the reply says that it did not. */
  failResumeNext: { status: number; after?: boolean }[];
  /** Programs whose connection is cut after their first output. */
  cutExecutions: number;
  /** Sandboxes that may run at once. */
  concurrentMax: number;
  cpuCount: number;
  memoryMb: number;
}

export const e2bKnobs = (): E2bKnobs => ({
  latencyMs: 0,
  failCreateNext: [],
  loseCreateReplies: 0,
  illWith: undefined,
  failResumeNext: [],
  cutExecutions: 0,
  concurrentMax: 1_000,
  cpuCount: 4,
  memoryMb: 8192,
});
