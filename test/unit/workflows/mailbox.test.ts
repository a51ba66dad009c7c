import type { BudgetCommand } from '../../../core/budget/commands';
import { Mailbox } from '../../../workflows/budget/mailbox';
import { reserve, commit } from '../../support/budget-model';

describe('a mailbox', () => {
  test('gives batches of at most 500 in the order of arrival, and takes one back before what came after', () => {
    const mailbox = new Mailbox();
    const commands = Array.from({ length: 1_200 }, (_, index) => commit(`op-${index}`));
    mailbox.add(commands);
    const batch = mailbox.take();
    expect(batch).toEqual(commands.slice(0, 500));
    mailbox.putBack(batch);
    expect(mailbox.take()).toEqual(commands.slice(0, 500));
    expect(mailbox.size).toBe(700);
  });

  test('carries what fits into the next execution: reserves are left behind first, order is kept', () => {
    const long = 'x'.repeat(8_000);
    const commands: BudgetCommand[] = Array.from({ length: 400 }, (_, index) =>
      index % 2 === 0 ? reserve(`r-${index}`, '1', { model: long }) : commit(`c-${index}`),
    );
    const carried = new Mailbox(commands).carry();
    expect(carried.filter(({ type }) => type === 'commit')).toHaveLength(200);
    expect(carried.length).toBeLessThan(commands.length);
    expect(JSON.stringify(carried).length).toBeLessThanOrEqual(1_010_000);
    expect(carried).toEqual(commands.filter((command) => carried.includes(command)));
  });

  test('says whether all of it can be carried, and gives out what cannot (XF7)', () => {
    const commands: BudgetCommand[] = Array.from({ length: 200 }, (_, index) =>
      reserve(`r-${index}`, '1', { model: 'x'.repeat(8_000) }),
    );
    const mailbox = new Mailbox(commands);
    expect([mailbox.fits, new Mailbox(commands.slice(0, 100)).fits]).toEqual([false, true]);
    const excess = mailbox.takeExcess();
    expect(mailbox.fits).toBe(true);
    expect([...mailbox.carry(), ...excess]).toEqual(commands);
  });
});
