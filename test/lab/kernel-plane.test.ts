// SPDX-License-Identifier: BSD-2-Clause
/* The tests of the user-space plane, with eBPF in front of it. */
import { existsSync } from 'node:fs';
import { nativePart } from '../../src/native/index.js';
import { refusal } from '../../src/platform/linux/kernel-plane.js';
import { OBJECT_FILE } from '../../src/platform/linux/lisp-programs.js';
import { missingForPlanes, planeTests } from './plane.body.js';

function missingKernel(): string | false {
  const always = missingForPlanes();
  if (always !== false) return always;
  if (!existsSync(OBJECT_FILE)) return 'the eBPF programs were not built (no clang)';
  return refusal(nativePart('bpf')) ?? false;
}

planeTests('kernel', missingKernel());
// What of it is another way: attached to devices, and detached.
planeTests('clsact', missingKernel(), [
  'TCP and UDP over IPv4 RLOCs',
  'a pin moves a flow in mid-transfer, answers follow',
  'what must not come in stays out',
  'RLOCs, EIDs and routes change while it runs',
  'nothing stays at the devices',
]);
