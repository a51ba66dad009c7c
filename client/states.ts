/** How a run or a conversation stands, in the one word that people are shown. */

interface Standing {
  status: string;
  waitingFor: { kind: string } | null;
}

/** Its status; of a conversation that has nothing to do, what it waits for, in the same vocabulary. */
export const stateOf = ({ status, waitingFor }: Standing): string =>
  status === 'running' && waitingFor?.kind === 'message' ? 'waiting_for_message' : status;
