// SPDX-License-Identifier: BSD-2-Clause

/**
 * The rules of this product, as text for pfctl(8): everything pf has to know, in one anchor. Values in, text out.
 *
 *   client SYN -> in on the client's interface -> tagged when its destination is ours -> divert-to -> amptcpd
 *   what the client sends next, what it is sent    -> passed without state: pf would divert every packet of a state
 *   to servers, and what answers (role data-centre)-> passed likewise
 *   gateway's EIDs <-> lisp0, clients' EIDs -> lisp0 -> what answers them, RLOCs <-> UDP 4341 and 4342   -> passed
 *
 * Whether a destination is ours takes three tables, and a rule names but one: so rules tag, and the last one looks at
 * the tag. For IPv6 nothing is diverted (pf of FreeBSD 14 cannot): tproxy(4) holds the SYN behind pf.
 */
import ipaddr from 'ipaddr.js';
import type { CaptureRule } from '../../native/freebsd/interception.types.js';
import { PlatformError } from '../platform.js';

export const ANCHOR = 'amptcp';
/** Of divert(4), which has its own. */
export const DIVERT_PORT = 4340;
export const BYPASS_TABLE = 'amptcp_bypass';

export interface Interception {
  /** Empty: every interface; where servers are behind LISP, all but the LISP device. */
  interfaces: string[];
  ports: { from: number; to: number }[];
  /** Empty: everything. */
  include: string[];
  exclude: string[];
  /** false: nothing new is taken, what is proxied already goes on. */
  divert: boolean;
  /** true: the gateway connects to the destinations themselves, by whatever interface, and in its clients' names. */
  servers: boolean;
}

export interface AnchorSettings {
  interception?: Interception;
  /** The LISP device. */
  device: string;
  /** The gateway's own EIDs. */
  localPrefixes: string[];
  /** EIDs of clients in whose name the gateway connects. */
  clientPrefixes: string[];
  rlocs: { address: string; interface?: string; gateway?: string }[];
  /** Destinations that are left alone for a while. */
  bypass: string[];
}

// ---------------------------------------------------------------- checks: nothing else gets into a rule

const invalid = (message: string): PlatformError => new PlatformError(message, 'EINVAL');

export function checkInterface(name: string): string {
  if (!/^[A-Za-z][A-Za-z0-9_.]{0,14}$/.test(name))
    throw invalid(`not an interface name: ${JSON.stringify(name)}`);
  return name;
}

export function checkAddress(text: string): string {
  if (
    !ipaddr.isValid(text) ||
    text.includes('%') ||
    (!text.includes(':') && !ipaddr.IPv4.isValidFourPartDecimal(text))
  )
    throw invalid(`not an address: ${JSON.stringify(text)}`);
  return text;
}

export function checkPrefix(text: string): string {
  const [address = '', length, rest] = text.split('/');
  checkAddress(address);
  const bits = address.includes(':') ? 128 : 32;
  const wanted = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : NaN;
  if (rest !== undefined || !(wanted >= 0 && wanted <= bits))
    throw invalid(`not an address or prefix: ${JSON.stringify(text)}`);
  return `${address}/${wanted}`;
}

function checkPorts(ports: { from: number; to: number }[]): { from: number; to: number }[] {
  for (const { from, to } of ports)
    if (!Number.isInteger(from) || !Number.isInteger(to) || from < 1 || to > 65535 || from > to)
      throw invalid(`not a range of ports: ${from} to ${to}`);
  return ports;
}

// ---------------------------------------------------------------- the text

const list = (words: string[]): string => (words.length === 1 ? words[0]! : `{ ${words.join(', ')} }`);
const table = (name: string, prefixes: string[]): string =>
  `table <${name}> persist${prefixes.length === 0 ? '' : ` { ${prefixes.map(checkPrefix).join(', ')} }`}`;
const everything = ['0.0.0.0/0', '::/0'];
const isAll = (ports: { from: number; to: number }[]): boolean =>
  ports.length === 0 || ports.some(({ from, to }) => from === 1 && to === 65535);
const portList = (ports: { from: number; to: number }[]): string =>
  isAll(ports)
    ? ''
    : ` port ${list(checkPorts(ports).map(({ from, to }) => (from === to ? `${from}` : `${from}:${to}`)))}`;

function interceptionRules(
  { interfaces, ports, include, exclude, divert, servers }: Interception,
  device: string,
): string[] {
  const on =
    interfaces.length > 0 ? ` on ${list(interfaces.map(checkInterface))}` : servers ? '' : ` on ! ${device}`;
  const port = portList(ports);
  return [
    table('amptcp_include', include.length === 0 ? everything : include),
    table('amptcp_exclude', exclude),
    `match in${on} proto tcp from any to <amptcp_include>${port} flags any tag amptcp_in`,
    `match in${on} proto tcp from any to <amptcp_exclude> flags any tagged amptcp_in tag amptcp_no`,
    ...(divert
      ? [
          `pass in quick${on} inet proto tcp from any to ! <${BYPASS_TABLE}> flags S/SA tagged amptcp_in no state divert-to 127.0.0.1 port ${DIVERT_PORT}`,
        ]
      : []),
    `pass in quick${on} proto tcp all flags any tagged amptcp_in no state`,
    `match out${on} proto tcp from <amptcp_include>${port} to any flags any tag amptcp_out`,
    `match out${on} proto tcp from <amptcp_exclude> to any flags any tagged amptcp_out tag amptcp_no`,
    `pass out quick${on} proto tcp all flags any tagged amptcp_out no state`,
    ...(servers ? serverRules(port) : []),
    // What a router says of a proxied connection: too big, unreachable.
    ...['in', 'out'].flatMap((way) => [
      `pass ${way} quick${servers ? '' : on} inet proto icmp all icmp-type { unreach, timex } no state`,
      `pass ${way} quick${servers ? '' : on} inet6 proto icmp6 all icmp6-type { unreach, toobig, timex } no state`,
    ]),
  ];
}

/** Nobody begins a connection from there this way: what comes answers one. */
const serverRules = (port: string): string[] => [
  `match out proto tcp from any to <amptcp_include>${port} flags any tag amptcp_to`,
  `match out proto tcp from any to <amptcp_exclude> flags any tagged amptcp_to tag amptcp_no`,
  `pass out quick proto tcp all flags any tagged amptcp_to no state`,
  `match in proto tcp from <amptcp_include>${port} to any flags any tag amptcp_from`,
  `match in proto tcp from <amptcp_exclude> to any flags any tagged amptcp_from tag amptcp_no`,
  `pass in quick proto tcp all flags A/A tagged amptcp_from no state`,
  `pass in quick proto tcp all flags R/R tagged amptcp_from no state`,
];

/** The whole anchor. @throws PlatformError EINVAL */
export function anchorRules(settings: AnchorSettings): string {
  const device = checkInterface(settings.device);
  const rlocs = settings.rlocs.map((rloc) => ({ ...rloc, address: checkAddress(rloc.address) }));
  const addresses = rlocs.map(({ address }) => address);
  const lines = [
    table(BYPASS_TABLE, settings.bypass),
    ...(settings.localPrefixes.length > 0 ? [table('amptcp_local', settings.localPrefixes)] : []),
    ...(settings.clientPrefixes.length > 0 ? [table('amptcp_clients', settings.clientPrefixes)] : []),
    ...(settings.interception ? interceptionRules(settings.interception, device) : []),
  ];
  if (settings.localPrefixes.length > 0)
    lines.push(
      `pass out quick on ${device} from <amptcp_local> to any flags any no state`,
      `pass in quick on ${device} from any to <amptcp_local> flags any no state`,
    );
  // Nobody begins a connection towards a client this way: what comes answers one.
  if (settings.clientPrefixes.length > 0)
    lines.push(
      `pass out quick on ${device} proto tcp from <amptcp_clients> to any flags any no state`,
      `pass in quick on ${device} proto tcp from any to <amptcp_clients> flags A/A no state`,
      `pass in quick on ${device} proto tcp from any to <amptcp_clients> flags R/R no state`,
    );
  for (const { address, gateway, interface: name } of rlocs) {
    if (gateway === undefined) continue;
    if (name === undefined) throw invalid(`the RLOC ${address} has a gateway: name its interface as well`);
    lines.push(
      `pass out quick on ! ${checkInterface(name)} route-to (${name} ${checkAddress(gateway)}) proto udp from ${address} to any port 4341:4342 no state`,
    );
  }
  if (addresses.length > 0)
    lines.push(
      `pass out quick proto udp from ${list(addresses)} to any port 4341:4342 no state`,
      `pass in quick proto udp from any to ${list(addresses)} port 4341:4342 no state`,
    );
  const families = [addresses.filter((a) => !a.includes(':')), addresses.filter((a) => a.includes(':'))];
  if (families[0]!.length > 0)
    lines.push(`pass in quick inet proto icmp from any to ${list(families[0]!)} icmp-type unreach no state`);
  if (families[1]!.length > 0)
    lines.push(
      `pass in quick inet6 proto icmp6 from any to ${list(families[1]!)} icmp6-type { unreach, toobig } no state`,
    );
  return lines.map((line) => `${line}\n`).join('');
}

/** TPROXY_ABI_RULES of kmod/tproxy/tproxy_ioctl.h. */
export const MAX_CAPTURE_RULES = 64;

/**
 * The same question for tproxy(4), which holds the SYNs of IPv6. Destinations to be left alone come first, as many as there
 * is room for: the others are decided upon one by one. @throws PlatformError E2BIG, EINVAL
 */
export function captureRules(interception: Interception | undefined, bypass: string[]): CaptureRule[] {
  if (!interception?.divert) return [];
  const six = (prefixes: string[]): string[] =>
    prefixes.map(checkPrefix).filter((prefix) => prefix.includes(':'));
  const interfaces =
    interception.interfaces.length === 0 ? [''] : interception.interfaces.map(checkInterface);
  const ports = isAll(interception.ports) ? [{ from: 1, to: 65535 }] : checkPorts(interception.ports);
  const included = interception.include.length === 0 ? ['::/0'] : six(interception.include);
  const rule = (
    prefix: string,
    capture: boolean,
    range: { from: number; to: number },
    name: string,
  ): CaptureRule => ({
    prefix,
    from: range.from,
    to: range.to,
    interface: name,
    capture,
  });
  const all = { from: 1, to: 65535 };
  const excluded = six(interception.exclude).map((prefix) => rule(prefix, false, all, ''));
  const captured = included.flatMap((prefix) =>
    ports.flatMap((range) => interfaces.map((name) => rule(prefix, true, range, name))),
  );
  const room = MAX_CAPTURE_RULES - excluded.length - captured.length;
  if (room < 0)
    throw new PlatformError(
      `IPv6: ${excluded.length + captured.length} combinations of prefix, port range and interface, tproxy(4) takes ${MAX_CAPTURE_RULES}`,
      'E2BIG',
    );
  if (captured.length === 0) return [];
  const passed = (room === 0 ? [] : six(bypass).slice(-room)).map((prefix) => rule(prefix, false, all, ''));
  return [...excluded, ...passed, ...captured];
}
