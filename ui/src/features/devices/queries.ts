import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";
import type { CountedPage, Device, DeviceDetail } from "../../api/types";
import { paths } from "../../lib/paths";

const PAGE = 200;
const ALL_PAGE = 1_000;
/** More devices than this are not loaded to split them; the server still runs on all. */
const ALL_LIMIT = 20_000;

export const deviceKeys = {
  all: ["devices"] as const,
  list: (q: string) => ["devices", "list", q] as const,
  every: ["devices", "every"] as const,
  count: ["devices", "count"] as const,
  one: (guid: string) => ["devices", "one", guid] as const,
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
  queryFn: async ({ signal }): Promise<{ items: Device[]; total: number }> => {
    const items: Device[] = [];
    let cursor: string | null = null;
    for (;;) {
      const page: CountedPage<Device> = await get(paths.devices({ cursor, limit: ALL_PAGE }), signal);
      items.push(...page.items);
      cursor = page.next_cursor;
      if (!cursor || items.length >= ALL_LIMIT) return { items, total: page.total };
    }
  },
  staleTime: 5_000,
});

export const deviceCountQuery = queryOptions({
  queryKey: deviceKeys.count,
  queryFn: async ({ signal }) => (await get<CountedPage<Device>>(paths.devices({ limit: 1 }), signal)).total,
});

export function deviceQuery(guid: string) {
  return queryOptions({
    queryKey: deviceKeys.one(guid),
    queryFn: ({ signal }) => get<DeviceDetail>(paths.device(guid), signal),
  });
}
