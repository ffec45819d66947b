// SPDX-License-Identifier: BSD-2-Clause
/*
 * The data-centre role, a real daemon between real kernels:
 *
 *   client (MPTCP) 10.1.0.2 -- 10.1.0.1 amptcpd 10.2.0.1 -- 10.2.0.2 server (TCP)
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missing, runIsolated } from './namespaces.js';

const daemon = fileURLToPath(new URL('../../src/daemon/main.js', import.meta.url));
const skip = missing(['nft', 'ip', 'python3', 'curl']);

const SERVER = `
import socket
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('10.2.0.2', 80))
listener.listen(5)
connection, peer = listener.accept()
data = b''
while True:
    piece = connection.recv(65536)
    if not piece: break
    data += piece
connection.sendall(('%s sent %d octets' % (peer[0], len(data))).encode())
connection.close()
`;
/** 262 is IPPROTO_MPTCP, (284, 1) SOL_MPTCP and MPTCP_INFO: it fails on a connection that fell back. */
const CLIENT = `
import socket
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
client.settimeout(30)
client.connect(('10.2.0.2', 80))
client.sendall(b'x' * 1000000)
client.getsockopt(284, 1, 100)
client.shutdown(socket.SHUT_WR)
answer = b''
while True:
    piece = client.recv(1000)
    if not piece: break
    answer += piece
print(answer.decode())
refused = socket.socket()
refused.settimeout(30)
try:
    refused.connect(('10.2.0.2', 81))
    refused.recv(1)
    print('no reset')
except ConnectionError:
    print('reset')
`;

const script = (folder: string): string => `set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
ip netns add c
ip netns add s
ip link set lo up
ip link add gc type veth peer name cg netns c
ip link add gs type veth peer name sg netns s
ip addr add 10.1.0.1/24 dev gc
ip addr add 10.2.0.1/24 dev gs
ip link set gc up
ip link set gs up
for host in c:cg:10.1.0 s:sg:10.2.0; do
  IFS=: read -r name device network <<EOF
$host
EOF
  ip -n $name addr add $network.2/24 dev $device
  ip -n $name link set $device up
  ip -n $name link set lo up
  ip -n $name route add default via $network.1
done
echo 1 > /proc/sys/net/ipv4/ip_forward
ip netns exec s python3 ${folder}/server.py &
"${process.execPath}" "${daemon}" --config ${folder}/amptcpd.conf > ${folder}/log &
pid=$!
try=0
until curl -s --unix-socket ${folder}/api.sock http://localhost/v1/status | grep -q '"state":"running"'; do
  try=$((try + 1))
  [ $try -lt 150 ]
  sleep 0.2
done
ip netns exec c python3 ${folder}/client.py
kill $pid
wait $pid
nft list ruleset
`;

test('data-centre role: MPTCP in, TCP out, refusals mirrored', { skip, timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'amptcp-dc-'));
  try {
    mkdirSync(join(folder, 'state'));
    writeFileSync(join(folder, 'server.py'), SERVER);
    writeFileSync(join(folder, 'client.py'), CLIENT);
    writeFileSync(join(folder, 'script.sh'), script(folder));
    writeFileSync(
      join(folder, 'amptcpd.conf'),
      `roles = ["data-centre"]
state_dir = "${folder}/state"
[api]
socket = "${folder}/api.sock"
[intercept]
interfaces = ["gc"]
ports = ["80-81"]
[relay]
drain_seconds = 1
`,
    );
    const { code, out, err } = await runIsolated('bash', join(folder, 'script.sh'));
    const log = readFileSync(join(folder, 'log'), 'utf8');
    assert.equal(code, 0, `${err}\n${log}`);
    // The rules are gone with the daemon: the list of them is empty.
    assert.equal(out, '10.1.0.2 sent 1000000 octets\nreset\n', `${err}\n${log}`);
    const closed = log
      .split('\n')
      .filter((line) => line.includes('"connection-closed"'))
      .map(
        (line) => JSON.parse(line) as { destination: string; protocol: string; reason: string; up: number },
      );
    assert.deepEqual(
      closed
        .map(({ destination, protocol, reason, up }) => ({ destination, protocol, reason, up }))
        .sort((a, b) => b.up - a.up),
      [
        { destination: '10.2.0.2:80', protocol: 'tcp', reason: 'finished', up: 1_000_000 },
        { destination: '10.2.0.2:81', protocol: 'tcp', reason: 'connect-failed', up: 0 },
      ],
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
