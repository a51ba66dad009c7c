/** How a stand-in can be made to misbehave, in-process or, where it is asked for, by `PUT /__stand-in/knobs`. */

import type { ScriptMessage } from './script-message';

/** An error by the provider's own name for it, and how long it asks to be left alone. */
export interface NamedError {
  name: string;
  retryAfterSeconds?: number;
}

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
  /** An error of that name as an event of the stream, before any output or after the first, in the provider's own shape. */
  | ({ type: 'error-event'; after?: 'nothing' | 'output' } & NamedError)
  /** The answer ends as failed, with the usage that it is billed for (OpenAI). */
  | ({ type: 'failed' } & NamedError)
  /** The stream begins a second message once the first is whole (Anthropic). */
  | { type: 'second-message' }
  /** Bytes that are no answer. */
  | { type: 'nonsense' };

/** A fixed reply in place of the script's. */
export interface FixedReply {
  text?: string;
  code?: string;
  /** Calls of other tools than `run_code`. */
  tools?: { name: string; input: Record<string, unknown> }[];
  /** The model refuses after the text, or before any. */
  isRefusal?: true;
  /** The finish reason that it ends with (Google). */
  endedAs?: string;
}

export interface ModelKnobs {
  /** Before the first byte of an answer. */
  latencyMs: number;
  /** Between two pieces of a streamed answer. */
  deltaSpacingMs: number;
  /** One fault a call, in order. */
  failNext: Fault[];
  /** Merged over the usage that is reported, of which then no cache takes part; null leaves the last report of a stream out. */
  usage: Record<string, unknown> | undefined | null;
  /** Merged over the first report of a stream that makes several; null leaves it out. */
  usageAtStart: Record<string, unknown> | undefined | null;
  /** Merged over the answer: output items of OpenAI, a candidate of Google. */
  extra: { items?: Record<string, unknown>[]; candidate?: Record<string, unknown>; serviceTier?: string } | undefined;
  /** One fixed reply a call, in order. */
  replies: FixedReply[];
  /** What it replies to what was said so far, where no fixed reply is left; the script's reply where it says nothing. */
  replyTo?: (messages: readonly ScriptMessage[]) => FixedReply | undefined;
  /** What it replies where no tool is to be called. */
  lastReply: FixedReply | undefined;
  /** It cannot read files: neither counts nor answers a prompt that has one. */
  refusesFiles: boolean;
  /** The HTTP status of everything that is to be counted; it is counted where there is none. */
  failCountsWith: number | undefined;
  /** How far its clock is ahead: what it cached is so much older. */
  clockAheadMs: number;
  /** Told of each call that is billed, as it begins to answer. */
  onBilled?: (request: unknown) => void;
}

export const modelKnobs = (): ModelKnobs => ({
  latencyMs: 0,
  deltaSpacingMs: 0,
  failNext: [],
  usage: undefined,
  usageAtStart: undefined,
  extra: undefined,
  replies: [],
  lastReply: undefined,
  refusesFiles: false,
  failCountsWith: undefined,
  clockAheadMs: 0,
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
  /** The same of extensions. */
  failExtendNext: { status: number; after?: boolean }[];
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
  failExtendNext: [],
  cutExecutions: 0,
  concurrentMax: 1_000,
  cpuCount: 4,
  memoryMb: 8192,
});
