import { queryOptions, useMutation, useQueryClient, type QueryClient } from "@tanstack/react-query";
import { change, get } from "../../api/client";
import { draftLink } from "../../api/seeds";
import type { Page, RightOnSites, Role, Site, User } from "../../api/types";
import { paths } from "../../lib/paths";
import { sessionQuery } from "../session/queries";

export const operatorKeys = {
  users: ["users"] as const,
  roles: ["roles"] as const,
  sites: ["sites"] as const,
};

export const usersQuery = queryOptions({
  queryKey: operatorKeys.users,
  queryFn: async ({ signal }) => (await get<Page<User>>(paths.users, signal)).items,
});

export const rolesQuery = queryOptions({
  queryKey: operatorKeys.roles,
  queryFn: async ({ signal }) => (await get<Page<Role>>(paths.roles, signal)).items,
});

export const sitesQuery = queryOptions({
  queryKey: operatorKeys.sites,
  queryFn: async ({ signal }) => (await get<Page<Site>>(paths.sites, signal)).items,
});

/** An operator with the link that sets the password. */
export interface WithLink {
  user: User;
  link: string;
}

/** Reads again what a change of operators or roles may have touched: lists, and what oneself may do. */
async function changed(client: QueryClient): Promise<void> {
  const keys = [operatorKeys.users, operatorKeys.roles, sessionQuery.queryKey];
  await Promise.all(keys.map((queryKey) => client.invalidateQueries({ queryKey })));
}

/** Draws the link's secret, which stays here; the server is told its public key. */
async function withLink(send: (publicKey: string) => Promise<User>): Promise<WithLink> {
  const { public_key, secret } = await draftLink();
  const user = await send(public_key);
  return { user, link: `${window.location.origin}/setup#${secret}` };
}

export function useInvite() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ username, roles }: { username: string; roles: string[] }) =>
      withLink((link) => change<User>(paths.users, { link, username, roles })),
    // The link must not outlive the dialog.
    gcTime: 0,
    onSuccess: () => changed(client),
  });
}

export function useReset(id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => withLink((link) => change<User>(paths.changeUser(id, "reset"), { link })),
    gcTime: 0,
    onSuccess: () => changed(client),
  });
}

export type UserChange =
  | { act: "roles"; roles: string[] }
  | { act: "disable"; reason: string; for_good: boolean }
  | { act: "enable" }
  | { act: "reset-factor" };

export function useChangeUser(id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ act, ...body }: UserChange) => change<User>(paths.changeUser(id, act), body),
    onSettled: () => changed(client),
  });
}

export interface RoleRequest {
  name: string;
  description: string;
  rights: RightOnSites[];
  /** Always said, null for no limit: what is left out would depend on what the role was before. */
  max_devices: number | null;
}

export function useSaveRole(isNew: boolean) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ name, ...body }: RoleRequest) =>
      isNew ? change<Role>(paths.roles, { name, ...body }) : change<Role>(paths.role(name), body),
    onSettled: () => changed(client),
  });
}

export function useSaveSite(isNew: boolean) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ name, description }: { name: string; description: string }) =>
      isNew ? change<Site>(paths.sites, { name, description }) : change<Site>(paths.site(name), { description }),
    onSettled: () => client.invalidateQueries({ queryKey: operatorKeys.sites }),
  });
}
