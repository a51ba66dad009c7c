/** Builds that forget what tools and requests for money need: see broken-builds.ts. */
import { holdsLeft, type BrokenBuild } from './breaking';
import type { FaultName } from './faults';

export const toolBuilds = {
  'tool-once': {
    what: 'a repeat of a step calls its tools again',
    told: ['a tool is called once'],
    sources: [
      {
        file: 'store/tools.ts',
        from: 'if (rows[0]) return rows[0].callId === callId;',
        to: 'if (rows[0]) return true;',
      },
    ],
    faults: ['a worker is killed while a tool is called'],
  },
  'tool-hold': {
    what: 'what a tool held stays held once its price is known',
    told: ['reserved equals the open reservations'],
    sql: holdsLeft("NEW.status = 'committed' AND NEW.kind = 'tool.call'"),
    faults: ['the server of tools vanishes'],
  },
  'tool-unverified': {
    what: 'a tool of which nobody can tell whether it did anything costs nothing',
    told: ['a call of a tool is charged'],
    sources: [
      {
        file: 'activities/sandbox/execute.ts',
        from: "used: due !== 'no',",
        to: "used: due === 'yes',",
      },
    ],
    faults: ['the server of tools vanishes'],
  },
  'tool-credential': {
    what: 'what a tool echoes of its credential is kept',
    told: ['a credential is kept nowhere'],
    sources: [
      {
        file: 'tools/credentials.ts',
        from: 'if (!credential) return text;',
        to: 'if (credential || !credential) return text;',
      },
    ],
    faults: ['Postgres slow'],
  },
  'grant-once': {
    what: 'who grants what was granted before tops up once more',
    told: ['a grant is one top-up', 'a request for money is answered once'],
    sources: [
      {
        file: 'store/money-answers.ts',
        from: "if (request.status === 'pending' && isOpen && waits === 1) {",
        to: 'if (isOpen && waits === 1) {',
      },
    ],
    faults: ['Postgres slow'],
  },
} satisfies Record<string, BrokenBuild<FaultName>>;
