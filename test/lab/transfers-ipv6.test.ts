// SPDX-License-Identifier: BSD-2-Clause
import { transferTests } from './transfers.js';

transferTests(6);
