// On which devices a job would be: the server's word, asked again as one types. Nothing is sent to a device.

import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { get } from "../../api/client";
import type { AimedDevice, AssemblyUse, JobPreview, JobTargets, RunContext } from "../../api/types";
import { paths } from "../../lib/paths";
import { deviceKeys } from "../devices/queries";

const TYPING_MS = 300;
const PAGE = 500;
/** How long a path the server takes for certain. */
const MAX_PATH = 8_000;

/** The path that asks about targets; null for more devices named one by one than a path holds. */
export function previewPath(targets: JobTargets, context: RunContext, kept?: Pick<AssemblyUse, "assembly" | "version"> | null): string | null {
  const path = paths.previewJob({
    context,
    limit: PAGE,
    all: targets.all ? "true" : null,
    devices: targets.guids.join(","),
    sites: targets.sites?.join(","),
    filter: targets.filter,
    except: targets.except?.join(","),
    assembly: kept?.assembly,
    version: kept?.version,
  });
  return path.length > MAX_PATH ? null : path;
}

export interface Aimed {
  /** What the first page says of all. */
  preview: JobPreview | undefined;
  devices: readonly AimedDevice[];
  /** Why the server would not say. */
  error: Error | null;
  /** What is shown belongs to what was typed before. */
  isOld: boolean;
  more: () => void;
}

/** `path` is null while there is nothing to ask for. */
export function useAim(path: string | null): Aimed {
  const [typed] = useDebouncedValue(path, TYPING_MS);
  const isOff = path === null;
  const query = useInfiniteQuery({
    queryKey: deviceKeys.aimed(typed ?? ""),
    queryFn: ({ pageParam, signal }) =>
      get<JobPreview>(pageParam === null ? (typed ?? "") : `${typed}&cursor=${encodeURIComponent(pageParam)}`, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (last, _, at) => (last.next_cursor === at ? null : last.next_cursor),
    enabled: typed !== null && !isOff,
    retry: false,
    placeholderData: keepPreviousData,
  });
  const pages = (!isOff && query.data?.pages) || [];
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = query;
  return {
    preview: pages[0],
    devices: pages.flatMap((page) => page.items),
    error: isOff ? null : query.error,
    isOld: query.isPlaceholderData || typed !== path,
    more: () => {
      if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
    },
  };
}
