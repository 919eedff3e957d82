// What the form of a role says.

import { MAX_DEVICES } from "../../lib/limits";
import { NAME, readDraft, type RightsDraft } from "../../lib/rights";
import { words as rightWords } from "../rights/words";
import type { RoleRequest } from "./queries";
import { words } from "./words";

export interface RoleForm {
  name: string;
  description: string;
  rights: RightsDraft;
  /** As it is typed; empty for no limit. */
  limit: string;
}

export interface RoleErrors {
  name?: string | undefined;
  limit?: string | undefined;
  rights?: string | undefined;
}

/** Whether the role runs jobs, which is what a limit belongs to. */
export function runsJobs(form: Pick<RoleForm, "rights">): boolean {
  return form.rights["jobs.run"] !== undefined;
}

function readLimit(text: string): number | null | undefined {
  const plain = text.trim();
  if (plain === "") return null;
  const limit = /^\d{1,10}$/.test(plain) ? Number(plain) : MAX_DEVICES + 1;
  return limit <= MAX_DEVICES ? limit : undefined;
}

/** Reads the form: the request to send, or what is wrong at the fields. */
export function readRoleForm(form: RoleForm): { request: RoleRequest } | { errors: RoleErrors } {
  const { lines, siteless } = readDraft(form.rights);
  const limit = runsJobs(form) ? readLimit(form.limit) : null;
  const errors = {
    name: NAME.test(form.name.trim()) ? undefined : words.nameBad,
    limit: limit === undefined ? words.limitBad : undefined,
    rights: siteless.length > 0 ? rightWords.siteless(siteless) : undefined,
  };
  if (errors.name || errors.rights || limit === undefined) return { errors };
  return {
    request: { name: form.name.trim(), description: form.description.trim(), rights: lines, max_devices: limit },
  };
}
