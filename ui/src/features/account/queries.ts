import { queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { change, get } from "../../api/client";
import { registerPasskey } from "../../api/passkey";
import { draftToken } from "../../api/seeds";
import type { ApiToken, LiveSession, Page, Passkey, TokenRequest } from "../../api/types";
import { paths } from "../../lib/paths";
import { sessionQuery } from "../session/queries";

export const accountKeys = {
  sessions: ["sessions"] as const,
  tokens: ["tokens"] as const,
  passkeys: ["passkeys"] as const,
};

export const sessionsQuery = queryOptions({
  queryKey: accountKeys.sessions,
  queryFn: async ({ signal }) => (await get<Page<LiveSession>>(paths.sessions, signal)).items,
});

export const tokensQuery = queryOptions({
  queryKey: accountKeys.tokens,
  queryFn: async ({ signal }) => (await get<Page<ApiToken>>(paths.tokens, signal)).items,
});

export const passkeysQuery = queryOptions({
  queryKey: accountKeys.passkeys,
  queryFn: async ({ signal }) => (await get<Page<Passkey>>(paths.passkeys, signal)).items,
});

/** Reads anew what changes with a passkey: the list, and how many the session knows of. */
function usePasskeyChange<T>(mutationFn: (given: T) => Promise<Passkey>) {
  const client = useQueryClient();
  return useMutation({
    mutationFn,
    onSettled: async () => {
      await client.invalidateQueries({ queryKey: accountKeys.passkeys });
      await client.invalidateQueries({ queryKey: sessionQuery.queryKey });
    },
  });
}

export const useAddPasskey = () => usePasskeyChange((name: string) => registerPasskey(name));

export const useRenamePasskey = (id: string) =>
  usePasskeyChange((name: string) => change<Passkey>(paths.renamePasskey(id), { name }));

export const useRemovePasskey = () => usePasskeyChange((id: string) => change<Passkey>(paths.removePasskey(id)));

export function useEndSession() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => change<LiveSession>(paths.endSession(id)),
    onSettled: () => client.invalidateQueries({ queryKey: accountKeys.sessions }),
  });
}

export interface MadeToken extends ApiToken {
  /** The whole token: made in this browser, and known to nobody else. */
  token: string;
}

export function useMakeToken() {
  const client = useQueryClient();
  return useMutation({
    // The key is drawn here; what is sent of it is its public half.
    mutationFn: async (request: TokenRequest): Promise<MadeToken> => {
      const { public_key, write } = await draftToken();
      const { biscuit, ...made } = await change<ApiToken & { biscuit: string }>(paths.tokens, { ...request, public_key });
      return { ...made, token: write(biscuit) };
    },
    // The whole token must not outlive the dialog.
    gcTime: 0,
    onSuccess: () => client.invalidateQueries({ queryKey: accountKeys.tokens }),
  });
}

export function useRevokeToken() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => change<ApiToken>(paths.revokeToken(id)),
    onSettled: () => client.invalidateQueries({ queryKey: accountKeys.tokens }),
  });
}
