import { infiniteQueryOptions, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { change, get } from "../../api/client";
import type { AskedJob, Job, JobRequest, OutputAnswer, OutputGroups, OutputWindow, Page, Run, StreamName } from "../../api/types";
import { rerunCommand } from "../../api/signing";
import { paths } from "../../lib/paths";
import type { ApprovalBody, Asked } from "./review";

const PAGE = 100;
const RUNS_PAGE = 500;
const DIGEST_MS = 1_000;
export const LONG_POLL_MS = 20_000;

export const jobKeys = {
  all: ["jobs"] as const,
  list: ["jobs", "list"] as const,
  recent: ["jobs", "recent"] as const,
  one: (job: string) => ["jobs", "one", job] as const,
  outputs: (job: string) => ["jobs", "outputs", job] as const,
  asked: (job: string) => ["jobs", "asked", job] as const,
  runs: (job: string) => ["jobs", "runs", job] as const,
};

export const jobsQuery = infiniteQueryOptions({
  queryKey: jobKeys.list,
  queryFn: ({ pageParam, signal }) => get<Page<Job>>(paths.jobs({ cursor: pageParam, limit: PAGE }), signal),
  initialPageParam: null as string | null,
  getNextPageParam: (last) => last.next_cursor,
});

export const recentJobsQuery = queryOptions({
  queryKey: jobKeys.recent,
  queryFn: async ({ signal }) => (await get<Page<Job>>(paths.jobs({ limit: 50 }), signal)).items,
});

export function jobQuery(job: string) {
  return queryOptions({
    queryKey: jobKeys.one(job),
    queryFn: ({ signal }) => get<Job>(paths.job(job), signal),
  });
}

/** What a job's runs printed, those that printed the same as one. */
export function outputsQuery(job: string) {
  return infiniteQueryOptions({
    queryKey: jobKeys.outputs(job),
    queryFn: ({ pageParam, signal }) =>
      get<OutputGroups>(paths.jobOutputs(job, { cursor: pageParam, limit: PAGE }), signal),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
    // What is still being digested comes without an event.
    refetchInterval: (query) => ((query.state.data?.pages.at(-1)?.pending ?? 0) > 0 ? DIGEST_MS : false),
  });
}

/** Does a job again for some of its runs: the author's request, in one's own name. */
export function useRerun(job: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async ({ asked, runs }: { asked: Asked; runs: readonly Pick<Run, "run" | "guid">[] }) => {
      const guids = runs.map((run) => run.guid).toSorted();
      const body = { ...Object.fromEntries(asked.members), targets: { all: false, guids } };
      const command = await rerunCommand(job, runs.map((run) => run.run));
      return change<{ job: string }>(paths.submitJob, body, command);
    },
    onSettled: () => client.invalidateQueries({ queryKey: jobKeys.all }),
  });
}

/** What a job asks for that waits for another operator's approval. It never changes. */
export function askedQuery(job: string) {
  return queryOptions({
    queryKey: jobKeys.asked(job),
    queryFn: ({ signal }) => get<AskedJob>(paths.jobRequest(job), signal),
    staleTime: Infinity,
  });
}

export function useApproveJob(job: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (approval: ApprovalBody) => change<Job>(paths.approveJob(job), approval),
    onSettled: () => client.invalidateQueries({ queryKey: jobKeys.all }),
  });
}

export function runsQuery(job: string) {
  return infiniteQueryOptions({
    queryKey: jobKeys.runs(job),
    queryFn: ({ pageParam, signal }) =>
      get<Page<Run>>(paths.jobRuns(job, { cursor: pageParam, limit: RUNS_PAGE }), signal),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
  });
}

export function readOutput(job: string, cursor: OutputAnswer["cursor"], signal: AbortSignal): Promise<OutputAnswer> {
  return get<OutputAnswer>(paths.jobOutput(job, { cursor, wait_ms: LONG_POLL_MS }), signal);
}

export function readRunOutput(run: string, stream: StreamName, offset: number, limit: number): Promise<OutputWindow> {
  return get<OutputWindow>(paths.runOutput(run, { stream, offset, limit }));
}

export function useSubmitJob() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (request: JobRequest) => change<{ job: string; runs_total: number }>(paths.submitJob, request),
    onSuccess: () => client.invalidateQueries({ queryKey: jobKeys.all }),
  });
}

export function useContinueJob(job: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => change<Job>(paths.continueJob(job)),
    onSettled: () => client.invalidateQueries({ queryKey: jobKeys.all }),
  });
}

export function useCancelJob(job: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => change<Job>(paths.cancelJob(job)),
    onSettled: () => client.invalidateQueries({ queryKey: jobKeys.all }),
  });
}
