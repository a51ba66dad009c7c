/** What is told of a paid step while it goes on, for whoever shows it. */
/** One attempt of a paid step. Amounts are decimal strings. */
export interface StepLine {
  operationId: string;
  kind: string;
  step?: number | undefined;
  attempt: number;
  state: 'asks' | 'holds' | 'denied' | 'rejected' | 'ended';
  askedUsd: string;
  heldUsd?: string | undefined;
  /** As soon as the workflow knows it. */
  costUsd?: string | undefined;
  /** Charged by its estimate. */
  unverified?: true | undefined;
}
