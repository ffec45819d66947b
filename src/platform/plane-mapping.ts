// SPDX-License-Identifier: BSD-2-Clause

/** What a data plane takes of a mapping. Shared by the planes that are built on the C core. */
import { MAPPING_ACTIONS, type Locator, type Mapping } from '../lisp/mapping.js';

/** LISP_MAX_LOCATORS of kmod/core/lisp_types.h. */
export const MAX_LOCATORS = 16;

export interface PlaneLocator {
  rloc: string;
  priority: number;
  weight: number;
  reachable: boolean;
}

/** The locators worth having when there are more than a plane keeps: best priority first, as they came among equals. */
export function planeLocators(locators: Locator[]): PlaneLocator[] {
  const kept =
    locators.length <= MAX_LOCATORS
      ? locators
      : [...locators].sort((a, b) => a.priority - b.priority).slice(0, MAX_LOCATORS);
  return kept.map(({ rloc, priority, weight, reachable }) => ({ rloc, priority, weight, reachable }));
}

export const planeAction = (mapping: Mapping): number => MAPPING_ACTIONS[mapping.action];
