import type { TokenRequest } from "../../api/types";
import { readDraft, type RightsDraft } from "../../lib/rights";
import { words as rightWords } from "../rights/words";
import { words } from "./words";

export interface TokenForm {
  name: string;
  rights: RightsDraft;
  devices: readonly string[];
  lifetime: string;
}

export const emptyTokenForm: TokenForm = { name: "", rights: {}, devices: [], lifetime: "2592000000" };

export type TokenFormErrors = Partial<Record<"name" | "rights", string>>;

/** Reads the form: the request to send, or what to correct at which field. */
export function readTokenForm(form: TokenForm): { request: TokenRequest } | { errors: TokenFormErrors } {
  const errors: TokenFormErrors = {};
  const name = form.name.trim();
  if (name === "") errors.name = words.nameBad;
  const { lines, siteless } = readDraft(form.rights);
  if (lines.length === 0) errors.rights = words.rightsBad;
  if (siteless.length > 0) errors.rights = rightWords.siteless(siteless);
  if (Object.keys(errors).length > 0) return { errors };
  return {
    request: {
      name,
      rights: lines,
      devices: form.devices.length > 0 ? [...form.devices] : null,
      lifetime_ms: Number(form.lifetime),
    },
  };
}
