import { infiniteQueryOptions, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { change, get } from "../../api/client";
import type {
  AskedSchedule,
  Page,
  Schedule,
  ScheduleHistory,
  SchedulePreview,
  ScheduleRequest,
  ScheduleRule,
} from "../../api/types";
import { paths } from "../../lib/paths";
import { jobKeys } from "../jobs/queries";
import { scheduleKeys } from "./keys";

/** How many firings a preview shows. */
export const PREVIEWED = 20;

export const schedulesQuery = infiniteQueryOptions({
  queryKey: scheduleKeys.list,
  queryFn: ({ pageParam, signal }) => get<Page<Schedule>>(paths.schedules({ cursor: pageParam }), signal),
  initialPageParam: null as string | null,
  getNextPageParam: (last) => last.next_cursor,
});

export function scheduleQuery(schedule: string) {
  return queryOptions({
    queryKey: scheduleKeys.one(schedule),
    queryFn: ({ signal }) => get<Schedule>(paths.schedule(schedule), signal),
  });
}

export function historyQuery(schedule: string) {
  return infiniteQueryOptions({
    queryKey: scheduleKeys.history(schedule),
    queryFn: ({ pageParam, signal }) =>
      get<Page<ScheduleHistory>>(paths.scheduleHistory(schedule, { cursor: pageParam }), signal),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
  });
}

/** What a schedule asks for, as its author signed it. It never changes. */
export function askedScheduleQuery(schedule: string) {
  return queryOptions({
    queryKey: scheduleKeys.asked(schedule),
    queryFn: ({ signal }) => get<AskedSchedule>(paths.scheduleRequest(schedule), signal),
    staleTime: Infinity,
  });
}

/** How many firings of a past month it shows. */
export const PREVIEWED_PAST = 200;

/** When a rule fires from now on, or would have in the month before this one, as the server says. */
export function previewQuery(rule: ScheduleRule, isPast = false) {
  const span = isPast ? { period: "last_month", count: PREVIEWED_PAST } : { count: PREVIEWED };
  return queryOptions({
    queryKey: [...scheduleKeys.preview, rule, isPast],
    queryFn: ({ signal }) => get<SchedulePreview>(paths.previewSchedule({ ...rule, ...span }), signal),
    retry: false,
  });
}

export function useMakeSchedule() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (request: ScheduleRequest) => change<Schedule>(paths.newSchedule, request),
    onSuccess: () => client.invalidateQueries({ queryKey: scheduleKeys.all }),
  });
}

export const SCHEDULE_CHANGES = ["pause", "resume", "skip", "archive"] as const;
export type ScheduleChange = (typeof SCHEDULE_CHANGES)[number];

export function useChangeSchedule(schedule: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (act: ScheduleChange) => change<Schedule>(paths.changeSchedule(schedule, act)),
    onSettled: () => client.invalidateQueries({ queryKey: scheduleKeys.all }),
  });
}

/** Lets a schedule run now; the body names exactly the request that was read. */
export function useRunSchedule(schedule: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (request: string) => change<{ job: string }>(paths.changeSchedule(schedule, "run"), { request }),
    onSettled: () =>
      Promise.all([scheduleKeys.all, jobKeys.all].map((queryKey) => client.invalidateQueries({ queryKey }))),
  });
}
