import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { describe } from "../../api/errors";
import type { Job } from "../../api/types";
import { useRows } from "../../api/useRows";
import { finishedCount, jobMark } from "../../lib/states";
import { zoneName } from "../../lib/time";
import { count } from "../../lib/units";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Grid, type GridColumn } from "../../ui/Grid";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { Page } from "../../ui/Page";
import { ProgressBar } from "../../ui/ProgressBar";
import { StateMark } from "../../ui/StateMark";
import classes from "./Jobs.module.css";
import { jobText } from "./jobText";
import { jobsQuery } from "./queries";
import { words } from "./words";

export const JOB_COLUMNS: GridColumn<Job>[] = [
  {
    id: "what",
    header: words.columns.what,
    width: "minmax(150px, 1.4fr)",
    cell: (job) => (
      <Link to="/jobs/$job" params={{ job: job.job }} className={classes.jobLink} tabIndex={-1}>
        {jobText(job)} <span className="mono dim">{job.job.slice(0, 8)}</span>
      </Link>
    ),
  },
  {
    id: "state",
    header: words.columns.state,
    width: "124px",
    cell: (job) => <StateMark mark={jobMark(job)} />,
  },
  {
    id: "devices",
    header: words.columns.devices,
    width: "110px",
    align: "end",
    cell: (job) => `${count(finishedCount(job))} of ${count(job.runs_total)}`,
  },
  {
    id: "progress",
    header: words.columns.progress,
    width: "minmax(120px, 1fr)",
    cell: (job) => <ProgressBar counts={job.counts} total={job.runs_total} />,
  },
  {
    id: "created",
    header: words.columns.created,
    width: "140px",
    cell: (job) => <Instant at={job.created_at} />,
  },
  {
    id: "by",
    header: words.columns.by,
    width: "minmax(90px, 0.8fr)",
    cell: (job) => job.created_by ?? words.none,
  },
];

function idOf(job: Job): string {
  return job.job;
}

export function JobsPage() {
  const navigate = useNavigate();
  const query = useInfiniteQuery(jobsQuery);
  const { rows, more } = useRows(query, idOf);
  const newJob = (
    <Button leftSection={<Icon name="player-play" />} onClick={() => void navigate({ to: "/run" })}>
      {words.runTitle}
    </Button>
  );
  return (
    <Page title={words.jobs} fill note={`${words.submitted} in ${zoneName()}`} actions={newJob}>
      {query.isPending ? <Loading rows={10} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedJobs, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.data ? (
        <Grid
          label={words.jobs}
          columns={JOB_COLUMNS}
          rows={rows}
          rowId={idOf}
          rowName={(job) => `${jobText(job)} ${job.job.slice(0, 8)}, ${jobMark(job).label}`}
          onOpen={(job) => void navigate({ to: "/jobs/$job", params: { job: job.job } })}
          onEnd={more}
          empty={<EmptyState title={words.noJobs}>{words.noJobsText}</EmptyState>}
        />
      ) : null}
    </Page>
  );
}
