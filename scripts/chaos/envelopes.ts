/** Callers who reserve a sum for what is to come and spend it in parts, and what holds of every envelope after it. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Caller } from './caller';
import type { Installation } from './installation';
import type { Hold, Tenant } from './scene';

/** An envelope over two resources and some parts at once, of more than it has; some end it before them. */
export async function spendInParts({ tenantId, chance }: Tenant, caller: Caller): Promise<void> {
  const of = { tenantId, userId: chance.oneOf(['ada', 'grace']), labels: { team: chance.oneOf(['search', 'ads']) } };
  const operationId = randomUUID();
  const reserve = (body: object): ReturnType<Caller['insist']> =>
    caller.insist('POST', '/v1/reservations', { operationId: randomUUID(), resource: 'llm', ...of, ...body });
  const ttlSeconds = chance.between(3, 10);
  const sum = { operationId, amountUsd: '1', minimumUsd: '0.2', envelope: true, resources: ['geocoding'], ttlSeconds };
  if ((await reserve(sum))?.status !== 201) return void (await sleep(2_000));
  const endsEarly = chance.is(0.3);
  const parts = Array.from({ length: 5 }, async () => {
    const [fate, resource] = [chance.next(), chance.oneOf(['llm', 'geocoding'])];
    const asked = { amountUsd: '0.3', minimumUsd: '0.1', resource, parentOperationId: operationId, ttlSeconds: 5 };
    const part = await reserve({ ...asked, ...(chance.is(0.3) ? { orBeyond: true } : {}) });
    if (part?.status !== 201 || fate > 0.9) return; // Beyond the rest, or its caller died.
    const where = `/v1/reservations/${String(part.body.operationId)}`;
    if (fate > 0.7) return void (await caller.insist('POST', `${where}/release`, { tenantId }));
    const costUsd = (fate * 0.5).toFixed(6);
    await caller.insist('POST', `${where}/commit`, { tenantId, costUsd });
  });
  const end = (): ReturnType<Caller['insist']> =>
    caller.insist('POST', `/v1/reservations/${operationId}/release`, { tenantId });
  if (endsEarly) await end();
  await Promise.all(parts);
  if (!endsEarly && chance.is(0.7)) await end();
  await sleep(chance.between(1_000, 3_000));
}

/** The rest of each envelope is what it was, less what its parts took and did not give back. */
export async function checkEnvelopes({ admin }: Installation, hold: Hold): Promise<void> {
  const { rows } = await admin.query<Record<'name' | 'rest' | 'should', string>>(
    `SELECT e.tenant_id || ' ' || e.operation_id AS name, trim_scale(e.granted_usd)::text AS rest,
            trim_scale(e.envelope_usd - coalesce(sum(p.granted_usd - coalesce(p.returned_usd, 0)), 0))::text AS should
     FROM copilot_internal.reservations e
     LEFT JOIN copilot_internal.reservations p ON p.tenant_id = e.tenant_id AND p.parent_id = e.operation_id AND p.granted_usd IS NOT NULL
     WHERE e.envelope_usd IS NOT NULL GROUP BY e.tenant_id, e.operation_id, e.granted_usd, e.envelope_usd`,
  );
  const wrong = rows.filter(({ rest, should }) => rest !== should);
  hold('no envelope is spent twice', wrong.length === 0, () =>
    wrong.map(({ name, rest, should }) => `${name} has $${rest} left, and its parts left $${should}`).join('; '),
  );
}
