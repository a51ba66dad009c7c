/** Who waits for an answer, as tables: what is asked, posted and recorded when, who is told what when, and when Postgres is read. */
import { metrics } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { PendingReplies } from '../../../authority/client/pending-replies';
import type { ReserveAnswer, ReserveCommand } from '../../../core/budget/commands';
import { inOneSpelling } from '../../../core/ids';
import { asksTheSame } from '../../../core/budget/reservations';
import { createLog } from '../../../telemetry/log';
import { turnMetricsOn } from '../../../telemetry/metrics';
import { metricNames } from '../../../telemetry/names';
import { BudgetModel, reserve } from '../../support/budget-model';
import { ManualClock, settle } from '../../support/manual-clock';

const operationIdOf = (name: string): string => `00000000-0000-4000-8000-00000000000${name}`;

interface Postgres {
  /** How long a look takes. */
  lookMs?: number;
  /** The tenant that cannot be read. */
  broken?: string;
}

/** A process that waits, its clock, and what Postgres holds: a tenant has $10, so a step of $20 is denied. */
function scene({ lookMs = 0, broken }: Postgres = {}) {
  const clock = new ManualClock();
  const told: string[] = [];
  const looks: string[] = [];
  const money = new Map<string, BudgetModel>();
  const moneyOf = (tenantId: string): BudgetModel => {
    const model = money.get(tenantId) ?? new BudgetModel(0, [{ limitUsd: '10' }]);
    money.set(tenantId, model);
    return model;
  };
  const replies = new PendingReplies({
    clock,
    log: createLog({ name: 'test', level: 'silent' }),
    async read({ tenantId, commands }) {
      const operationIds = [...new Set(commands.map(({ operationId }) => inOneSpelling(operationId)))];
      looks.push(`${clock.nowMs()} ${tenantId} ${operationIds.map((id) => id.at(-1)).join('')}`);
      const { reservations } = moneyOf(tenantId);
      const found = operationIds.flatMap((id) => reservations.get(inOneSpelling(id)) ?? []);
      if (lookMs > 0) await new Promise<void>((resolve) => clock.after(lookMs, resolve));
      if (tenantId === broken) throw new Error('cannot be read');
      return found;
    },
  });

  /** `a` is operation 1 of the tenant acme for $1; `other:a$2` the same of another tenant for $2. */
  const commandOf = (text: string): { tenantId: string; command: ReserveCommand } => {
    const [, tenantId = 'acme', name = '', amountUsd = '1'] = /^(?:(\w+):)?(\w)(?:\$(\d+))?$/.exec(text) ?? [];
    const number = ' abcdefghi'.indexOf(name.toLowerCase());
    const id = operationIdOf(`${number}`);
    // Capitals are another spelling of the same.
    return { tenantId, command: reserve(name < 'a' ? `{${id.toUpperCase()}}` : id, amountUsd) };
  };
  const decide = ({ tenantId, command }: ReturnType<typeof commandOf>): ReserveAnswer =>
    moneyOf(tenantId).decide({ ...command, operationId: inOneSpelling(command.operationId) })
      .answers[0] as ReserveAnswer;
  const shown = (answer: ReserveAnswer | undefined): string => {
    if (!answer) return 'nothing';
    return answer.decision === 'rejected' ? answer.code : answer.decision;
  };
  const act = (what: string, text: string): void => {
    const { tenantId, command } = commandOf(text);
    if (what === 'ask' || what === 'ask-briefly') {
      void replies
        .wait(tenantId, command, what === 'ask' ? 30_000 : 60)
        .then((answer) => told.push(`${clock.nowMs()} ${text} ${shown(answer)}`));
    } else if (what === 'record') decide({ tenantId, command });
    else if (what === 'post') {
      const answer = decide({ tenantId, command });
      replies.post(tenantId, answer, (waiting) => asksTheSame(waiting, command));
    } else throw new Error(`No such step: ${what}`);
  };
  return {
    clock,
    replies,
    told: () => told.join(' | '),
    looks: () => looks.join(' | '),
    play: async (steps: string): Promise<void> => {
      for (const step of steps.split(' | ')) {
        const [at, what = '', text = ''] = step.split(' ');
        if (Number(at) > clock.nowMs()) await clock.moveTo(Number(at));
        if (what !== 'end') act(what, text);
      }
      await settle();
    },
  };
}

interface Case {
  what: string;
  steps: string;
  told: string;
  looks?: string;
  postgres?: Postgres;
}

const cases: Case[] = [
  {
    what: 'an answer that is posted is told at once, and is not looked for',
    steps: '0 ask a | 7 post a | 100 end',
    told: '7 a granted',
    looks: '',
  },
  {
    what: 'an answer that is posted nowhere is found in the record',
    steps: '0 ask a | 10 record a | 100 end',
    told: '25 a granted',
    looks: '25 acme 1',
  },
  {
    what: 'a denial is found there too',
    steps: '0 ask a$20 | 10 record a$20 | 100 end',
    told: '25 a$20 denied',
  },
  {
    what: 'an answer that comes twice, or is posted and found, is told once',
    steps: '0 ask a | 24 post a | 24 post a | 26 post a | 100 end',
    told: '24 a granted',
    looks: '',
  },
  {
    what: 'an answer that is posted while the record is read is told once',
    steps: '0 ask a | 10 record a | 30 post a | 200 end',
    told: '30 a granted',
    looks: '25 acme 1',
    postgres: { lookMs: 50 },
  },
  {
    what: 'who gets no answer in time is told so, and not what comes later',
    steps: '0 ask-briefly a | 70 post a | 200 end',
    told: '60 a nothing',
    looks: '25 acme 1 | 50 acme 1',
  },
  {
    what: 'who asks again after that waits anew',
    steps: '0 ask-briefly a | 61 record a | 70 ask a | 200 end',
    told: '60 a nothing | 100 a granted',
  },
  {
    what: 'a look that ends after the time tells nobody',
    steps: '0 ask-briefly a | 10 record a | 200 end',
    told: '60 a nothing',
    looks: '25 acme 1',
    postgres: { lookMs: 50 },
  },
  {
    what: 'several who ask for one operation are all told, with one look',
    steps: '0 ask a | 3 ask a | 3 ask b | 5 post b | 10 record a | 100 end',
    told: '5 b granted | 25 a granted | 50 a granted',
    looks: '25 acme 1 | 50 acme 1',
  },
  {
    what: 'an answer posted to one of them reaches all who asked the same, and nobody who asked for something else',
    steps: '0 ask a | 0 ask a | 0 ask a$2 | 5 post a | 100 end',
    told: '5 a granted | 5 a granted | 25 a$2 operation_conflict',
  },
  {
    what: 'one operation is one, however it is spelled',
    steps: '0 ask A | 0 ask a | 0 ask B | 5 post a | 10 record b | 100 end',
    told: '5 A granted | 5 a granted | 25 B granted',
    looks: '25 acme 2',
  },
  {
    what: 'tenants may choose the same id, and are not told of each other',
    steps: '0 ask a | 0 ask other:a | 5 post other:a | 10 record a | 100 end',
    told: '5 other:a granted | 25 a granted',
  },
  {
    what: 'all that wait are looked up with one query a tenant',
    steps: '0 ask a | 0 ask b | 0 ask other:c | 0 ask a | 30 post a | 30 post b | 30 post other:c | 100 end',
    told: '30 a granted | 30 a granted | 30 b granted | 30 other:c granted',
    looks: '25 acme 12 | 25 other 3',
  },
  {
    what: 'a tenant that cannot be read keeps nobody else from being told',
    steps: '0 ask broken:a | 0 ask b | 10 record b | 60 post broken:a | 100 end',
    told: '25 b granted | 60 broken:a granted',
    looks: '25 broken 1 | 25 acme 2 | 50 broken 1',
    postgres: { broken: 'broken' },
  },
  {
    what: 'one look is under way at a time',
    steps: '0 ask a | 10 ask b | 200 post a | 200 post b | 400 end',
    told: '200 a granted | 200 b granted',
    looks: '25 acme 1 | 150 acme 12',
    postgres: { lookMs: 100 },
  },
  {
    what: 'who is answered while another tenant is looked up is not looked up any more',
    steps: '0 ask other:a | 0 ask b | 50 post b | 200 post other:a | 400 end',
    told: '50 b granted | 200 other:a granted',
    looks: '25 other 1 | 150 other 1',
    postgres: { lookMs: 100 },
  },
  {
    what: 'who has waited long is looked up less often: after a quarter of the wait so far',
    steps: '0 ask a | 999 post a | 1000 end',
    told: '999 a granted',
    looks: [25, 50, 75, 100, 125, 175, 225, 300, 375, 475, 600, 750, 950].map((ms) => `${ms} acme 1`).join(' | '),
  },
];

describe('pending replies', () => {
  test.each(cases)('$what', async ({ steps, told, looks, postgres }) => {
    const playing = scene(postgres);
    await playing.play(steps);
    expect(playing.told()).toBe(told);
    if (looks !== undefined) expect(playing.looks()).toBe(looks);
    // Nobody waits any more, so nothing is looked for.
    await playing.clock.moveTo(playing.clock.nowMs() + 60_000);
    expect([playing.looks(), playing.clock.pending]).toEqual([looks ?? playing.looks(), 0]);
  });

  test('tell when a look at a tenant has ended, of no other', async () => {
    const { play, replies, told } = scene({ lookMs: 100 });
    const ended: string[] = [];
    await play('0 ask a | 0 ask other:a | 30 post a');
    void replies.looked('other').then(() => ended.push('other'));
    await play('100 end');
    expect([told(), ended]).toEqual(['30 a granted', ['other']]);
    void replies.looked('acme').then(() => ended.push('acme'));
    await play('124 end');
    expect(ended).toEqual(['other']);
    await play('126 end | 300 post other:a');
    expect(ended).toEqual(['other', 'acme']);
  });

  test('an answer that nobody waits for is left alone', async () => {
    const { play, told } = scene();
    await play('0 post a | 10 ask b | 20 post a | 30 post b');
    expect(told()).toBe('30 b granted');
  });

  test('count each wait once, by how it ended', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
    const provider = new MeterProvider({ readers: [reader] });
    metrics.setGlobalMeterProvider(provider);
    turnMetricsOn();
    const { play } = scene({ lookMs: 50 });
    // Posted while it is read, found after the time, and told in time.
    await play(
      '0 ask a | 10 record a | 30 post a | 200 ask-briefly b | 210 record b | 400 ask c | 405 post c | 600 end',
    );
    await reader.forceFlush();
    const [scopeMetrics] = exporter.getMetrics().flatMap((resource) => resource.scopeMetrics);
    const counted = scopeMetrics?.metrics
      .find(({ descriptor }) => descriptor.name === metricNames.answerDuration)
      ?.dataPoints.map(({ attributes, value }) => [attributes.outcome, (value as { count: number }).count]);
    expect(counted).toEqual([
      ['answered', 2],
      ['none', 1],
    ]);
    await provider.shutdown();
    metrics.disable();
  });
});
