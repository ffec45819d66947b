// SPDX-License-Identifier: BSD-2-Clause
import { planeTests } from './plane.body.js';

planeTests('user');
