import { queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { change, getAll } from "../../api/client";
import { fromHex } from "../../api/encoding";
import { draftCode } from "../../api/seeds";
import type { Approval, InstallerCode, MintAnswer, MintedCode, MintRequest, Resolution } from "../../api/types";
import { paths } from "../../lib/paths";

export const enrolmentKeys = {
  codes: ["codes"] as const,
  approvals: ["approvals"] as const,
  pending: ["approvals", "pending"] as const,
};

/** More than this nobody reads on one page. */
const MOST = 1_000;

export const codesQuery = queryOptions({
  queryKey: enrolmentKeys.codes,
  queryFn: async ({ signal }) => (await getAll<InstallerCode>(paths.codes, MOST, signal)).items,
});

export const pendingApprovalsQuery = queryOptions({
  queryKey: enrolmentKeys.pending,
  queryFn: async ({ signal }) =>
    (await getAll<Approval>((cursor) => paths.approvals({ state: "pending", cursor }), MOST, signal)).items,
});

export function useMintCode() {
  const client = useQueryClient();
  return useMutation({
    // The secret is drawn here; what is sent of it is a public key.
    mutationFn: async (request: MintRequest): Promise<MintedCode> => {
      const { public_key, hint, write } = await draftCode();
      const { ca_sha256, ...minted } = await change<MintAnswer>(paths.mintCode, { ...request, public_key, hint });
      return { ...minted, code: await write(fromHex(ca_sha256)) };
    },
    // The whole code must not outlive the dialog.
    gcTime: 0,
    onSuccess: () => client.invalidateQueries({ queryKey: enrolmentKeys.codes }),
  });
}

export function useRevokeCode() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => change<InstallerCode>(paths.revokeCode(id)),
    onSettled: () => client.invalidateQueries({ queryKey: enrolmentKeys.codes }),
  });
}

export function useDecide() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (
      decision:
        | { id: string; approve: true; conflict?: Resolution; site?: string }
        | { id: string; approve: false; reason: string },
    ) => {
      if (!decision.approve) return change<Approval>(paths.deny(decision.id), { reason: decision.reason });
      const { conflict, site } = decision;
      return change<Approval>(paths.approve(decision.id), conflict || site ? { conflict, site } : undefined);
    },
    onSettled: () =>
      Promise.all([
        client.invalidateQueries({ queryKey: enrolmentKeys.approvals }),
        client.invalidateQueries({ queryKey: ["devices"] }),
      ]),
  });
}
