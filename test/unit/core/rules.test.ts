/**
 * The version of the rules by which money is decided: a process decides under a mandate only where its own is that of who opened it, so
 * a change of what decides has to raise it. `SPENDLOCK_WRITE_RULES=true` notes the sources as they are, once it is raised.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { rulesOf, rulesVersion } from '../../../core/budget/rules';

const root = path.join(__dirname, '..', '..', '..');
const noted = path.join(__dirname, 'rules.json');

/** All that decides: what `core`'s decision and its recording import, and the functions of the transaction. */
function sources(): string[] {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const { importedFiles } = ts.preProcessFile(readFileSync(path.join(root, file), 'utf8'));
    for (const { fileName } of importedFiles) {
      if (!fileName.startsWith('.')) continue;
      const found = path.join(path.dirname(file), `${fileName}.ts`);
      if (found.startsWith('core/') && existsSync(path.join(root, found))) visit(found);
    }
  };
  visit('core/budget/decision.ts');
  visit('store/budget-batch.ts');
  visit('store/asked-by.ts');
  const functions = [
    'load_budget_batch',
    'record_budget_batch',
    'record_mandate',
    'is_mandated',
    'apply_quota_changes',
    'lock_quotas',
    'lock_tenant',
    'add_run_limits',
    'lock_run_limits',
    'apply_run_limits',
    'check_envelopes',
    'add_label_quotas',
    'label_scopes',
    'note_label_values',
    'apply_label_quotas',
    'lock_payers',
    'quotas_of',
    'reset_label_periods',
    'reset_quotas',
    'move_quotas',
    'topups_at',
    'take_back_topup',
  ];
  return [...[...seen].sort(), ...functions.map((name) => `migrations/functions/${name}.sql`)];
}

/** Without comments and the words of a denial, by which nothing is decided. */
function hashOf(files: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of files) {
    if (file === 'core/budget/denials.ts' || file === 'core/budget/rules.ts') continue;
    const text = readFileSync(path.join(root, file), 'utf8');
    const bare = file.endsWith('.sql')
      ? text.replace(/--.*$/gm, '')
      : ts.transpileModule(text, { compilerOptions: { removeComments: true, target: ts.ScriptTarget.ES2022 } })
          .outputText;
    hash.update(`${file}\n${bare.replace(/\s+/g, ' ')}\n`);
  }
  return hash.digest('hex').slice(0, 32);
}

describe('the rules of a decision', () => {
  test('name their version and what is enforced, in one order', () => {
    expect(rulesOf({ llm: true, e2b: false })).toBe(rulesOf({ e2b: false, llm: true }));
    expect(rulesOf({ llm: true, e2b: false })).not.toBe(rulesOf({ llm: true, e2b: true }));
  });

  test('have another version once what decides is changed', () => {
    const files = sources();
    expect(files).toEqual(
      expect.arrayContaining(['core/budget/settlement.ts', 'core/money.ts', 'core/budget/quotas.ts']),
    );
    const now = { rulesVersion, hash: hashOf(files) };
    const before = JSON.parse(readFileSync(noted, 'utf8')) as typeof now;
    // Raise rulesVersion in core/budget/rules.ts, then have the hash noted: what decides otherwise has another version, always.
    if (now.hash !== before.hash) expect(now.rulesVersion).toBeGreaterThan(before.rulesVersion);
    if (process.env.SPENDLOCK_WRITE_RULES === 'true') writeFileSync(noted, `${JSON.stringify(now, null, 2)}\n`);
    expect(now).toEqual(JSON.parse(readFileSync(noted, 'utf8')));
  });
});
