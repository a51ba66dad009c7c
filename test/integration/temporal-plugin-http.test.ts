/** What the plugin asks of the API and says to it (`spendlock/temporal`), where answers are lost and where nobody decides. */
import { randomUUID } from 'node:crypto';
import { createSpendlockClient } from '../../client';
import { HttpMoney } from '../../workers/plugin/http-money';
import { startTestApi, type TestApi } from '../support/api';
import { startRelay } from '../support/relay';
import { TestStack, until } from '../support/stack';

let stack: TestStack;
let api: TestApi;
let tenantId: string;
beforeAll(async () => {
  stack = await TestStack.start({ worker: false });
  api = await startTestApi(stack);
});
afterAll(async () => {
  await api.close();
  await stack.stop();
});
beforeEach(async () => {
  tenantId = await stack.tenantThat('allow', 300);
});

const moneyAt = async (baseUrl: string): Promise<HttpMoney> =>
  new HttpMoney(createSpendlockClient({ baseUrl, apiKey: await api.keyOf(tenantId, 'agent') }), 60);
const asked = () => ({
  ...{
    operationId: randomUUID(),
    scope: {},
    amountUsd: 1_000_000_000_000n,
    resource: 'llm' as const,
    kind: 'llm.call',
  },
});
const row = async (operationId: string) => {
  const { rows } = await stack.admin.query<{ claimed: boolean; outcome: string | null }>(
    'SELECT claimed_at IS NOT NULL AS claimed, outcome FROM copilot_internal.reservations WHERE operation_id = $1',
    [operationId],
  );
  return rows[0];
};

test('a call that is let through without a grant is claimed, so that it is charged where nobody learns its cost', async () => {
  const money = await moneyAt(api.url);
  const held = await money.hold(asked());
  expect(held).toMatchObject({ isUnreserved: true, grantedUsd: 1_000_000_000_000n });
  await money.settle(held, { billed: 'unknown', knownUsd: 0n, reason: 'Nobody knows.' });
  expect(await row(held.operationId)).toEqual({ claimed: true, outcome: null });
  const free = await money.hold(asked());
  await money.settle(free, { billed: 'no' });
  expect(await row(free.operationId)).toMatchObject({ claimed: true });
  const known = await money.hold(asked());
  await money.settle(known, { billed: 'known', costUsd: 500_000_000_000n });
  expect(await row(known.operationId)).toEqual({ claimed: true, outcome: 'billed' });
});

test('the key of a tenant holds no money of another that the scope names', async () => {
  const other = await stack.tenant('10');
  const money = await moneyAt(api.url);
  const call = { ...asked(), scope: { tenantId: other } };
  await expect(money.hold(call)).rejects.toMatchObject({ type: 'forbidden', nonRetryable: true });
  expect(await row(call.operationId)).toBeUndefined();
  expect(await stack.books(other)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
});

test('a claim that is answered to nobody is given back once somebody is there: no call was made', async () => {
  const relay = await startRelay(api.url);
  const money = await moneyAt(relay.url);
  const call = asked();
  relay.stop = { path: /\/(claim|release)$/, how: 'unheard' };
  await expect(money.hold(call)).rejects.toMatchObject({ type: 'authority_unavailable' });
  expect(await row(call.operationId)).toEqual({ claimed: true, outcome: null });
  relay.stop = undefined;
  await until('it is given back', async () => (await row(call.operationId))?.outcome === 'not_billed');
  await relay.close();
});
