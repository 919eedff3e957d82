// The last runs of one device, found in the newest jobs: the API has no list of runs by device yet.

import { useQueries, useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { get } from "../../api/client";
import { describe } from "../../api/errors";
import type { Page, Run } from "../../api/types";
import { paths } from "../../lib/paths";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Grid } from "../../ui/Grid";
import { Loading } from "../../ui/Loading";
import { jobKeys, recentJobsQuery } from "../jobs/queries";
import { runColumns } from "../jobs/runColumns";
import classes from "./Devices.module.css";
import { words } from "./words";

const JOBS = 20;
const RUNS = 500;

export function DeviceRuns({ guid }: { guid: string }) {
  const navigate = useNavigate();
  const jobs = useQuery(recentJobsQuery);
  const newest = (jobs.data ?? []).slice(0, JOBS);
  const results = useQueries({
    queries: newest.map(({ job }) => ({
      queryKey: [...jobKeys.runs(job), "first"],
      queryFn: ({ signal }: { signal: AbortSignal }) => get<Page<Run>>(paths.jobRuns(job, { limit: RUNS }), signal),
    })),
  });
  if (jobs.error) return <ErrorPanel error={describe(words.failedOne, jobs.error)} onRetry={() => void jobs.refetch()} />;
  if (jobs.isPending || results.some((result) => result.isPending)) return <Loading />;
  const runs = results.flatMap((result) => result.data?.items ?? []).filter((run) => run.guid === guid);
  if (runs.length === 0) return <EmptyState title={words.noRuns}>{words.noRunsText}</EmptyState>;
  return (
    <div className={classes.runs}>
      <Grid
        label={words.tabs.runs}
        columns={RUN_COLUMNS}
        rows={runs}
        rowId={(run) => run.run}
        rowName={(run) => `${run.hostname}, ${run.state}`}
        onOpen={(run) => void navigate({ to: "/jobs/$job", params: { job: run.job }, search: { run: run.run } })}
      />
    </div>
  );
}

const RUN_COLUMNS = runColumns({ job: true });
