/** Which addresses tools may be at: public ones over https, and those that the installation names. */
import fc from 'fast-check';
import { Outbound } from '../../../tools/outbound';
import { allowedHostsFrom, isPublic, problemOfUrl, publicLookup } from '../../../tools/addresses';

describe('addresses of tools', () => {
  test.each([
    ...[
      '127.0.0.1',
      '10.1.2.3',
      '172.31.0.1',
      '192.168.1.1',
      '169.254.169.254',
      '100.64.0.1',
      '0.0.0.0',
      '224.0.0.1',
      '255.255.255.255',
    ],
    ...[
      '198.18.0.1',
      '192.0.2.7',
      '::1',
      '::',
      'fe80::1',
      'fd00::1',
      'ff02::1',
      '::ffff:127.0.0.1',
      '64:ff9b::7f00:1',
      '2002:7f00:1::',
    ],
    ...['2001:db8::1', '2001::1', 'fec0::1', 'no address'],
  ])('%s is not public', (address) => expect(isPublic(address)).toBe(false));

  test.each(['93.184.216.34', '8.8.8.8', '172.32.0.1', '2606:4700::1111', '2a00:1450::1'])('%s is public', (address) =>
    expect(isPublic(address)).toBe(true),
  );

  test.each([
    ['http://tools.example.com/x', 'https://'],
    ['ftp://tools.example.com/x', 'https://'],
    ['https://ada:secret@tools.example.com/', 'credential'],
    ['https://tools.example.com/#x', '#'],
    ['https://127.0.0.1/', 'no public address'],
    // As the URL standard reads them, all of which are 127.0.0.1.
    ['https://2130706433/', 'no public address'],
    ['https://0x7f.1/', 'no public address'],
    ['https://[::ffff:7f00:1]/', 'no public address'],
    ['no address', 'must be an address'],
  ])('%s is refused', (url, why) => expect(problemOfUrl(url, [])).toContain(why));

  test('a host that is named may be anywhere, at its port or at all', () => {
    const allowed = allowedHostsFrom({ SPENDLOCK_TOOL_HOSTS: ' 127.0.0.1:8080, Tools.internal ,[::1]' });
    expect(problemOfUrl('http://127.0.0.1:8080/x', allowed)).toBeUndefined();
    expect(problemOfUrl('http://127.0.0.1:8081/x', allowed)).toBeDefined();
    expect(problemOfUrl('http://tools.internal:1/x', allowed)).toBeUndefined();
    expect(problemOfUrl('http://[::1]:9/x', allowed)).toBeUndefined();
    expect(problemOfUrl('https://tools.internal.example.com/x', allowed)).toBeUndefined();
    expect(() => allowedHostsFrom({ SPENDLOCK_TOOL_HOSTS: 'http://tools.internal/' })).toThrow('SPENDLOCK_TOOL_HOSTS');
  });

  test('a name that stands for this machine is refused as it is looked up, asked for one address or all', async () => {
    for (const all of [true, false]) {
      const error = await new Promise((resolve) => publicLookup('localhost', { all }, (problem) => resolve(problem)));
      expect(error).toMatchObject({ name: 'ToolAddressError' });
    }
  });

  test('no address of a private range is taken for public, however it is written', () => {
    const octet = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(fc.constantFrom(10, 127, 0), octet, octet, octet, (a, b, c, d) => {
        expect(problemOfUrl(`https://${a}.${b}.${c}.${d}/`, [])).toBeDefined();
        expect(problemOfUrl(`https://${((a * 256 + b) * 256 + c) * 256 + d}/`, [])).toBeDefined();
        expect(problemOfUrl(`https://[::ffff:${a}.${b}.${c}.${d}]/`, [])).toBeDefined();
      }),
    );
  });

  test('are looked up and checked as they are connected to: a name of this machine is refused', async () => {
    const outbound = new Outbound([]);
    await expect(outbound.fetch(new URL('https://localhost:8443/'), {})).rejects.toMatchObject({
      cause: { name: 'ToolAddressError' },
    });
    expect(outbound.isConnected).toBe(false);
    await outbound.close();
  });
});
