/** Builds that forget what the calls of other people's agents need: see broken-builds.ts. */
import type { BrokenBuild } from './breaking';
import type { FaultName } from './faults';

const told = ['a call of another’s agent is charged'];

export const doorBuilds = {
  'proxy-claim': {
    what: 'the wire proxy passes a call on without its claim',
    told,
    sources: [
      {
        file: 'api/proxy/money.ts',
        from: 'const grantedUsd = await claim()',
        to: 'const claimed = claim;\n    const grantedUsd = await (async () => (Math.random() > 2 ? claimed() : 1n))()',
      },
    ],
    faults: ['the proxy is killed in the middle of streams'],
    doors: true,
  },
  'plugin-claim': {
    what: 'the plugin makes a call without its claim',
    told,
    sources: [
      {
        file: 'workers/plugin/http-money.ts',
        from: 'const claimToken = await this.claim(asked);',
        to: 'const claimToken = undefined;',
      },
    ],
    faults: ['a worker of agents is killed as they are answered'],
    doors: true,
  },
  'claimed-expiry': {
    what: 'what was claimed, and of which nobody told an outcome, is given back when it runs out',
    told,
    sources: [
      {
        file: 'core/budget/settlement.ts',
        from: "trigger === 'expiry' ? isReleasedByExpiry(reservation) : !reservation.claimed",
        to: "trigger === 'expiry' ? isReleasedByExpiry({ ...reservation, claimed: false }) : !reservation.claimed",
      },
    ],
    faults: ['the proxy is killed in the middle of streams'],
    doors: true,
  },
} satisfies Record<string, BrokenBuild<FaultName>>;
