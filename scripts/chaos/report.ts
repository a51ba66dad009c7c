/** What a chaos run says at its end. */
import type { BrokenBuildName } from './broken-builds';
import type { Violation } from './checks';
import type { RunFigures } from './run-limits';

export interface ChaosReport extends RunFigures {
  seed: number;
  minutes: number;
  /** Whether processes could decide under mandates, and how many reserves they did. */
  mandates: boolean;
  decidedByMandate: number;
  broken?: BrokenBuildName;
  /** Whether the promise was broken that the safeguard is there for. */
  isTold?: boolean;
  faults: Record<string, number>;
  requests: number;
  runs: number;
  conversations: number;
  messages: number;
  /** Of other people's agents. */
  streams: number;
  streamsWhole: number;
  agents: number;
  /** What a Postgres that took over may not have of them, so that nothing is asked of it. */
  doorsLeftOut: number;
  /** Calls of tools that were heard, steps of them that are charged as unverified, and requests for money that people answered. */
  toolCalls: number;
  toolsUnverified: number;
  moneyAnswered: number;
  answers: Record<string, number>;
  alertsSentAgain: number;
  unexpectedEnds: string[];
  /** Answers that what-if gave once more, as they are on record. */
  reproduced: number;
  checks: number;
  violations: number;
  violated: Violation[];
}

export function print(report: ChaosReport, json: boolean): void {
  if (json) {
    console.log(JSON.stringify(report));
    return;
  }
  const lines = Object.entries(report.faults).map(([name, times]) => `  ${String(times).padStart(4)}  ${name}`);
  console.log(
    `seed ${report.seed}, ${report.minutes} min: ${report.requests} requests, ${report.runs} runs, ${report.messages} messages in ${report.conversations} conversations`,
  );
  console.log(`runs with a limit: ${report.runsLimited}, with money of their own: ${report.runsGuaranteed}`);
  console.log(`faults injected:\n${lines.join('\n')}`);
  if (report.mandates) console.log(`decided under mandates: ${report.decidedByMandate}`);
  if (report.streams + report.agents > 0)
    console.log(
      `other people's agents: ${report.agents}, and ${report.streams} streams, ${report.streamsWhole} of them whole; left out: ${report.doorsLeftOut}`,
    );
  console.log(
    `calls of tools: ${report.toolCalls}, steps of them unverified: ${report.toolsUnverified}; requests for money answered: ${report.moneyAnswered}`,
  );
  console.log(`answers that what-if reproduced: ${report.reproduced}`);
  console.log(`checks made: ${report.checks}`);
  for (const { promise, what } of report.violated) console.log(`VIOLATED  ${promise}: ${what}`);
  console.log(`violations: ${report.violations}`);
  if (report.broken !== undefined) console.log(`${report.broken} is ${report.isTold ? 'told' : 'NOT TOLD'}`);
}
