import { infiniteQueryOptions, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { change, get, getAll } from "../../api/client";
import type { CountedPage, Device, DeviceChange, DeviceDetail, DeviceStanding, DeviceTags } from "../../api/types";
import { paths } from "../../lib/paths";

const PAGE = 200;
const ALL_PAGE = 500;
/** More devices than this are not loaded to split them; the server still runs on all. */
const ALL_LIMIT = 20_000;

export const deviceKeys = {
  all: ["devices"] as const,
  list: (q: string) => ["devices", "list", q] as const,
  every: ["devices", "every"] as const,
  count: ["devices", "count"] as const,
  one: (guid: string) => ["devices", "one", guid] as const,
  aimed: (path: string) => ["devices", "aimed", path] as const,
};

export function devicesQuery(q: string) {
  return infiniteQueryOptions({
    queryKey: deviceKeys.list(q),
    queryFn: ({ pageParam, signal }) =>
      get<CountedPage<Device>>(paths.devices({ cursor: pageParam, limit: PAGE, q }), signal),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
  });
}

/** Every device, to choose from and to split by presence. */
export const everyDeviceQuery = queryOptions({
  queryKey: deviceKeys.every,
  queryFn: ({ signal }) =>
    getAll<Device>((cursor) => paths.devices({ cursor, limit: ALL_PAGE }), ALL_LIMIT, signal),
  staleTime: 5_000,
});

export const deviceCountQuery = queryOptions({
  queryKey: deviceKeys.count,
  queryFn: async ({ signal }) => {
    const page = await get<CountedPage<Device>>(paths.devices({ limit: 1 }), signal);
    return page.total ?? page.items.length;
  },
});

export function deviceQuery(guid: string) {
  return queryOptions({
    queryKey: deviceKeys.one(guid),
    queryFn: ({ signal }) => get<DeviceDetail>(paths.device(guid), signal),
  });
}

/**
 * Changes a device's status. The answer is shown at once; inventory, from which the device is read, hears of it a moment
 * later and says so on the live socket, so only the lists are read again.
 */
export function useChangeStatus(guid: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (ask: { change: DeviceChange; reason: string }) =>
      change<DeviceStanding>(paths.changeDevice(guid, ask.change), { reason: ask.reason }),
    onSuccess: (standing) =>
      client.setQueryData<DeviceDetail>(deviceKeys.one(guid), (device) =>
        device
          ? {
              ...device,
              status: standing.status,
              status_reason: standing.status_reason,
              status_by: standing.status_by,
              status_at: standing.status_at,
            }
          : device,
      ),
    onSettled: (_, error) =>
      client.invalidateQueries({
        queryKey: deviceKeys.all,
        predicate: ({ queryKey }) => error !== null || queryKey[1] !== deviceKeys.one(guid)[1],
      }),
  });
}

/** Changes a device's tags; the answer is shown at once, as that of {@link useChangeStatus} is. */
export function useChangeTags(guid: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (ask: { add: string[]; remove: string[] }) => change<DeviceTags>(paths.tagDevice(guid), ask),
    onSuccess: ({ tags }) =>
      client.setQueryData<DeviceDetail>(deviceKeys.one(guid), (device) => (device ? { ...device, tags } : device)),
  });
}
