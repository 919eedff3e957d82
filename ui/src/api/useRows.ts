// A list that is read page by page: its rows so far, each once, and how to read on.

import type { InfiniteData } from "@tanstack/react-query";
import { useCallback, useMemo } from "react";
import type { Page } from "./types";

interface Paged<T> {
  data: InfiniteData<Page<T>> | undefined;
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  fetchNextPage: () => Promise<unknown>;
}

/** Gives the rows; one that moved between two pages while they were read stands once. `idOf` must stay the same function. */
export function useRows<T>(query: Paged<T>, idOf: (item: T) => string): { rows: T[]; more: () => void } {
  const { data, hasNextPage, isFetchingNextPage, fetchNextPage } = query;
  const rows = useMemo(() => {
    const seen = new Set<string>();
    return (data?.pages ?? []).flatMap((page) => page.items).filter((item) => !seen.has(idOf(item)) && seen.add(idOf(item)));
  }, [data, idOf]);
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  return { rows, more };
}
