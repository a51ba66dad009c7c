/** What Prometheus and Grafana are given: every query of the dashboard and of the alert rules, against what the product emits. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import { freePort } from '../../scripts/embedded/ports';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { startApiProcess, type ApiProcess } from '../support/api-process';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

const folder = path.join(__dirname, '..', '..', 'deploy', 'observability');
const run = promisify(execFile);

interface Rule {
  alert: string;
  expr: string;
}
const rules = (
  parse(readFileSync(path.join(folder, 'alert-rules.yml'), 'utf8')) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(readFileSync(path.join(folder, 'grafana', 'dashboards', 'spendlock.json'), 'utf8')) as {
  panels: { title: string; targets: { expr: string }[] }[];
};
/** As Grafana fills them in. */
const filledIn = (expr: string): string => expr.replaceAll('$__rate_interval', '20s').replaceAll('$tenant', '.*');
const queries = dashboard.panels.flatMap(({ title, targets }) =>
  targets.map(({ expr }): [string, string] => [title, filledIn(expr)]),
);

describe('what Prometheus makes of the metrics', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });
  let asking: ApiProcess;
  let prometheus: ChildProcess;
  let url: string;
  let scratch: string;

  beforeAll(async () => {
    scratch = mkdtempSync(path.join(tmpdir(), 'spendlock-prometheus-'));
    const [workerPort, apiPort, port] = [await freePort(), await freePort(), await freePort()];
    await stack.startWorker({ environment: { SPENDLOCK_METRICS_PORT: String(workerPort) } });
    // Who asks often decides, and counts what it decided.
    asking = await startApiProcess(stack, { SPENDLOCK_METRICS_PORT: String(apiPort) });
    // The product's own configuration, with another place to read from, and read more often.
    const config = parse(readFileSync(path.join(folder, 'prometheus.yml'), 'utf8')) as Record<string, unknown>;
    config.global = { scrape_interval: '1s', evaluation_interval: '1s' };
    const targets = [workerPort, apiPort].map((metricsPort) => `127.0.0.1:${metricsPort}`);
    config.scrape_configs = [{ job_name: 'spendlock', static_configs: [{ targets }] }];
    writeFileSync(path.join(scratch, 'prometheus.yml'), stringify(config));
    cpSync(path.join(folder, 'alert-rules.yml'), path.join(scratch, 'alert-rules.yml'));
    url = `http://127.0.0.1:${port}`;
    await run('prometheus', ['--version']).catch(() => {
      throw new Error('There is no Prometheus. Install one (on Debian: apt-get install prometheus).');
    });
    // It ends with this process, however that ends: the shell waits for the end of its input.
    prometheus = spawn(
      'sh',
      [
        '-c',
        'prometheus "$@" & pid=$!; cat > /dev/null; kill $pid; wait $pid',
        'prometheus',
        `--config.file=${scratch}/prometheus.yml`,
        `--storage.tsdb.path=${scratch}/data`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: ['pipe', 'ignore', 'ignore'] },
    );
    await until('Prometheus is ready', async () => (await fetch(`${url}/-/ready`).catch(() => undefined))?.ok);
    await life();
  });
  afterAll(async () => {
    const ended = once(prometheus, 'exit');
    prometheus.stdin?.end();
    await ended;
    await asking.stop();
    rmSync(scratch, { recursive: true, force: true });
  });

  interface Sample {
    metric: Record<string, string>;
    value: [number, string];
  }
  const ask = async (expr: string): Promise<Sample[]> => {
    const answer = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query: expr }).toString()}`);
    const body = (await answer.json()) as { status: string; error?: string; data: { result: Sample[] } };
    if (body.status !== 'success') throw new Error(`${expr}: ${String(body.error)}`);
    return body.data.result;
  };

  let busy: string;
  /** Everything that a panel could show: calls, sandboxes, denials, a settlement by estimate, errors of both kinds, over some seconds. */
  async function life(): Promise<void> {
    busy = await stack.tenant('0.4');
    const { knobs } = stack.anthropic;
    const key = await api.keyOf(busy);
    for (let round = 0; round < 6; round += 1) {
      const talk = await TestConversation.start(api, busy, { sandbox: { pauseAfterSeconds: 1 } });
      knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'one' }];
      await talk.say('First.');
      const [alive = ''] = stack.e2b.calls().alive;
      await fetch(`${stack.e2b.url}/sandboxes/${alive}`, { method: 'DELETE', headers: { 'x-api-key': 'outsider' } });
      knobs.failNext = [{ type: 'cut-before-usage' }];
      knobs.replies = [{ text: 'cut' }, { text: '', code: 'console.log(2)' }, { text: 'two' }];
      await talk.say('Second.');
      await fetch(`${asking.url}/v1/reservations`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ operationId: randomUUID(), resource: 'llm', amountUsd: '5' }),
      });
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      if (round < 5) await talk.close();
    }
    await new Promise((resolve) => setTimeout(resolve, 2_500));
  }

  test('the configuration and the rules are well formed, and the rules do what they say', async () => {
    await run('promtool', ['check', 'rules', path.join(folder, 'alert-rules.yml')]);
    await run('promtool', ['check', 'config', path.join(folder, 'prometheus.yml')]);
    await run('promtool', ['test', 'rules', path.join(folder, 'alert-rules.test.yml')]);
  });

  test.each(queries)('the panel %s has something to show: %s', async (_title, expr) => {
    const samples = await ask(expr);
    expect(samples.length).toBeGreaterThan(0);
    expect(samples.every(({ value: [, value] }) => value !== 'NaN' || /quantile/.test(expr))).toBe(true);
  });

  test.each(rules.map(({ alert, expr }): [string, string] => [alert, expr]))(
    'the rule %s is about metrics that there are',
    async (_alert, expr) => {
      await ask(expr);
      const names = [...expr.matchAll(/\b((?:regintel|spendlock|gen_ai)_\w+|up)\b/g)].map(([, name]) => name ?? '');
      const patterns = [...expr.matchAll(/__name__=~"([^"]+)"/g)].map(([, pattern]) => `{__name__=~"${pattern}"}`);
      const missing: string[] = [];
      for (const name of [...names, ...patterns]) if ((await ask(`count(${name})`)).length === 0) missing.push(name);
      // Nobody was left without an answer here; the label's value is one that the code writes.
      expect(missing).toEqual([]);
    },
  );

  test('what is spent, left and refused is what the ledger says', async () => {
    const quotas = await api.call('GET', `/v1/tenants/${busy}/quotas`);
    const all = (quotas.body.quotas as { resourceType: string; spentUsd: string; limitUsd: string }[]).find(
      ({ resourceType }) => resourceType === 'all',
    );
    const labels = `{tenant="${busy}",resource="all",period="month"}`;
    const one = async (expr: string): Promise<number> => Number((await ask(expr))[0]?.value[1]);
    await until(
      'the last settlement is read',
      async () => Math.abs((await one(`spendlock_quota_spent${labels}`)) - Number(all?.spentUsd)) < 1e-9,
    );
    expect(await one(`spendlock_quota_limit${labels}`)).toBeCloseTo(0.4, 9);
    expect(await one(`sum({__name__=~"regintel_(llm|e2b)_cost_total",tenant="${busy}"}) / 1e6`)).toBeCloseTo(
      Number(all?.spentUsd),
      5,
    );
    expect(await one(`sum(spendlock_decisions_total{tenant="${busy}",decision="denied"})`)).toBeGreaterThanOrEqual(6);
  });

  test('a budget that is nearly used raises its alert', async () => {
    const tenantId = await stack.tenant('1');
    await api.call('POST', '/v1/reservations', {
      body: { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd: '0.95', ttlSeconds: 600 },
    });
    const raised = async (): Promise<boolean> => {
      const { data } = (await (await fetch(`${url}/api/v1/alerts`)).json()) as {
        data: { alerts: { labels: Record<string, string>; state: string }[] };
      };
      return data.alerts.some(
        ({ labels }) => labels.alertname === 'SpendlockBudgetNearlyUsed' && labels.tenant === tenantId,
      );
    };
    await until('the alert is pending', raised, 15_000);
  });
});
