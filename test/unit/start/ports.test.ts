/** The ports of `npm start`: kept between starts, and said where another program has one. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { defaultPorts, keepPorts, keptPorts, movedPorts } from '../../../scripts/start/ports';

describe('XE15: the ports of a start', () => {
  let dataDir: string;
  beforeEach(() => void (dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-ports-'))));
  afterEach(() => rmSync(dataDir, { recursive: true }));

  test('are those of the start before', async () => {
    const ports = { ...defaultPorts, temporal: 40_001 };
    await keepPorts(dataDir, ports);
    expect(await keptPorts(dataDir)).toEqual(ports);
  });

  test.each(['', 'null', '[]', '{"api": "8088x", "temporal": -1, "postgres": 70000}'])(
    'are the usual ones where the file says nothing of use (%j)',
    async (text) => {
      writeFileSync(path.join(dataDir, 'ports.json'), text);
      expect(await keptPorts(dataDir)).toEqual(defaultPorts);
    },
  );

  test('are said where they are others than wanted: which, whose, and what was taken instead', () => {
    const wanted = { ...defaultPorts, temporalUi: 40_002 };
    expect(movedPorts(wanted, { ...wanted, api: 40_003, temporalUi: 40_004 })).toEqual([
      "Port 40002 (Temporal UI's until now) is in use by another program: 40004 was taken instead, and is kept for the next starts.",
      "Port 8088 (the API's by default) is in use by another program: 40003 was taken instead, and is kept for the next starts.",
    ]);
    expect(movedPorts(wanted, wanted)).toEqual([]);
  });
});
