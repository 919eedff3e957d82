import type { MintRequest } from "../../api/types";
import { quoted } from "../../lib/shell";
import { words } from "./words";

export interface MintForm {
  site: string;
  uses: number | string;
  lifetime: string;
  autoApprove: boolean;
}

export const emptyMintForm: MintForm = { site: "default", uses: 1, lifetime: "86400000", autoApprove: false };

export type MintFormErrors = Partial<Record<keyof MintForm, string>>;

const SITE = /^[\p{L}\p{N}][\p{L}\p{N}._-]{0,63}$/u;
const MOST_USES = 10_000;

/** Reads the form: the request to send, or what to correct at which field. */
export function readMintForm(form: MintForm): { request: MintRequest } | { errors: MintFormErrors } {
  const errors: MintFormErrors = {};
  const site = form.site.trim();
  if (!SITE.test(site)) errors.site = words.siteBad;
  const uses = typeof form.uses === "string" ? Number(form.uses) : form.uses;
  if (form.uses === "" || !Number.isInteger(uses) || uses < 1 || uses > MOST_USES) errors.uses = words.usesBad;
  if (Object.keys(errors).length > 0) return { errors };
  return {
    request: { site, uses, lifetime_ms: Number(form.lifetime), auto_approve: form.autoApprove },
  };
}

/** The commands for the device, as `borealis codes create --show-install` prints them. */
export function installCommands(serverUrl: string, code: string): string {
  return [
    ` export BOREALIS_INSTALLER_CODE=${quoted(code)}`,
    `borealis-agent run --server-url ${quoted(serverUrl)} --root /opt/borealis`,
  ].join("\n");
}
