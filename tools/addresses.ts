/**
 * Which addresses tools may be at. Whoever registers a tool has workers call what they name, so only public addresses over https are called;
 * others (this machine, a private network, a cloud's metadata service) where SPENDLOCK_TOOL_HOSTS names the host. Sources of the ranges: the
 * special-purpose registries of IANA for IPv4 and IPv6.
 */
import { lookup as lookUp, type LookupAddress } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Hosts, each with a port or for all of its ports, that may be called wherever they are. */
export type AllowedHosts = readonly string[];

/** So long an address may be, with the arguments in it. */
export const urlCharsMax = 2_000;

/** A tool was not called, for where it is. */
export class ToolAddressError extends Error {
  override readonly name = 'ToolAddressError';
}

const notPublic = new BlockList();
for (const [from, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const)
  notPublic.addSubnet(from, bits, 'ipv4');
// Of IPv6, what stands for an address of IPv4 among it.
for (const [from, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  notPublic.addSubnet(from, bits, 'ipv6');
const global = new BlockList();
global.addSubnet('2000::', 3, 'ipv6');

/** Whether an address is one that anybody on the internet can have. */
export function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !notPublic.check(address, 'ipv4');
  return isIP(address) === 6 && global.check(address, 'ipv6') && !notPublic.check(address, 'ipv6');
}

/** From SPENDLOCK_TOOL_HOSTS: `tools.internal,10.0.0.7:8443`. @throws Error that says which entry is none. */
export function allowedHostsFrom({ SPENDLOCK_TOOL_HOSTS: text = '' }: NodeJS.ProcessEnv): AllowedHosts {
  const hosts = text.split(',').flatMap((entry) => entry.trim().toLowerCase() || []);
  const wrong = hosts.find((host) => !URL.canParse(`http://${host}`) || /[/@?#]/.test(host));
  if (wrong !== undefined)
    throw new Error('SPENDLOCK_TOOL_HOSTS must be hosts, such as tools.internal or 10.0.0.7:8443');
  return hosts;
}

const portOf = ({ protocol, port }: URL): string => port || (protocol === 'https:' ? '443' : '80');

export const isAllowed = (url: URL, allowed: AllowedHosts): boolean =>
  allowed.includes(url.hostname) || allowed.includes(`${url.hostname}:${portOf(url)}`);

/** Why a tool cannot be at an address; undefined where it can, as far as can be said before it is looked up. */
export function problemOfUrl(text: string, allowed: AllowedHosts): string | undefined {
  if (text.length > urlCharsMax || !URL.canParse(text))
    return 'must be an address, such as https://tools.example.com/search';
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must begin with https://';
  if (url.username !== '' || url.password !== '')
    return 'must have no name and password in it: give them as the credential';
  if (url.hash !== '') return 'must have no # in it';
  if (isAllowed(url, allowed)) return undefined;
  if (url.protocol !== 'https:')
    return 'must begin with https://; http:// is for hosts that SPENDLOCK_TOOL_HOSTS names alone';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return isIP(host) !== 0 && !isPublic(host) ? notPublicWords(url.hostname) : undefined;
}

const notPublicWords = (host: string): string =>
  `is at ${host}, which is no public address; SPENDLOCK_TOOL_HOSTS of the workers and the API names the hosts that may be called all the same`;

/** Looks a host up as it is connected to, and refuses it where any of its addresses is not public. */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookUp(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
    const refused = found?.find(({ address }) => !isPublic(address));
    const problem = error ?? (refused && new ToolAddressError(`It ${notPublicWords(hostname)}.`));
    const [first] = found ?? [];
    if (problem || !first) callback(problem ?? new Error(`${hostname} has no address`), '', 0);
    else if (options.all) callback(null, found);
    else callback(null, first.address, first.family);
  });
};
