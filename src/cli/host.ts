// SPDX-License-Identifier: BSD-2-Clause
import type { Finding } from '../platform/platform.js';

/** What the CLI asks of this host itself, without a daemon. Loaded only when asked for. */
export const host = {
  async findings(): Promise<Finding[]> {
    const { diagnose } = await import('../platform/select.js');
    return diagnose();
  },
};
