import { QueryClient } from "@tanstack/react-query";
import { ApiError } from "./errors";

const RETRIES = 2;

/** Repeats a read only where the server says that waiting can help. */
export function retryRead(failures: number, error: Error): boolean {
  return failures < RETRIES && error instanceof ApiError && error.retry === "later" && error.code !== "throttled";
}

export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: { staleTime: 2_000, gcTime: 300_000, retry: retryRead, refetchOnWindowFocus: true },
      mutations: { retry: false },
    },
  });
}
