// SPDX-License-Identifier: BSD-2-Clause
import type { Finding } from '../platform/platform.js';

/** What the CLI asks of this host itself, without a daemon. Loaded only when asked: the platform brings native code. */
export const host = {
  async findings(): Promise<Finding[]> {
    const { selectPlatform } = await import('../platform/select.js');
    const platform = await selectPlatform();
    return platform.doctor();
  },
};
