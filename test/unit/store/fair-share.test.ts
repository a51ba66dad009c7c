/** What of a pool's connections a tenant has: nearly all while nobody else asks, few beside others. */
import type { Pool } from 'pg';
import { shareFairly, withinShare } from '../../../store/fair-share';

interface Work {
  tenantId: string;
  end: () => void;
}

/** A pool of 8 connections, and the work that has one. */
function withPool() {
  const pool = { options: { max: 8 } } as Pool;
  shareFairly(pool, { left: 2 });
  const running: Work[] = [];
  const ask = (tenantId: string): Promise<void> =>
    withinShare(pool, tenantId, () => new Promise<void>((end) => void running.push({ tenantId, end })));
  const count = (tenantId: string): number => running.filter((work) => work.tenantId === tenantId).length;
  const endOne = async (tenantId: string): Promise<void> => {
    const at = running.findIndex((work) => work.tenantId === tenantId);
    for (const { end } of running.splice(at, 1)) end();
    await new Promise(setImmediate);
  };
  return { ask, count, endOne };
}

test('a tenant alone has all but two connections, and two of eight as soon as another asks', async () => {
  const { ask, count, endOne } = withPool();
  const asked = Array.from({ length: 20 }, () => ask('busy'));
  await new Promise(setImmediate);
  expect(count('busy')).toBe(6);
  asked.push(ask('calm'));
  await new Promise(setImmediate);
  expect(count('calm')).toBe(1);
  for (const left of [5, 4, 3, 2, 2, 2]) {
    await endOne('busy');
    expect(count('busy')).toBe(left);
  }
  await endOne('calm');
  while (count('busy') > 0) await endOne('busy');
  await Promise.all(asked);
});

test('a second after the other has asked for the last time it has them again', async () => {
  const { ask, count, endOne } = withPool();
  const asked = [ask('calm'), ...Array.from({ length: 10 }, () => ask('busy'))];
  await new Promise(setImmediate);
  expect(count('busy')).toBe(2);
  await endOne('calm');
  await new Promise((resolve) => setTimeout(resolve, 1_050));
  await endOne('busy');
  expect(count('busy')).toBe(6);
  while (count('busy') > 0) await endOne('busy');
  await Promise.all(asked);
});
