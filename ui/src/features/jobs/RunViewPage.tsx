import { Button } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { describe } from "../../api/errors";
import { RUN_STATES, type Job, type Run, type RunState } from "../../api/types";
import { jobCan, refusal } from "../../lib/can";
import { FINAL_STATES, jobMark, RUN_MARKS, TROUBLE_STATES } from "../../lib/states";
import { count, plural } from "../../lib/units";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Grid } from "../../ui/Grid";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { Page } from "../../ui/Page";
import { ProgressBar } from "../../ui/ProgressBar";
import { StateMark } from "../../ui/StateMark";
import { sessionQuery } from "../session/queries";
import { Folded } from "./Folded";
import classes from "./Jobs.module.css";
import { jobText } from "./jobText";
import { lastLine, type JobOutput } from "./output";
import { jobQuery, runsQuery, useCancelJob, useContinueJob } from "./queries";
import { REVIEW_COLUMNS, runColumns } from "./runColumns";
import { RerunDialog } from "./RerunDialog";
import { Review } from "./Review";
import { RunDetail } from "./RunDetail";
import { useJobOutput } from "./useJobOutput";
import { words } from "./words";

const route = getRouteApi("/app/jobs/$job");

/** Puts what the output stream knows already into the rows; it is often ahead of the list. */
export function withOutput(runs: readonly Run[], output: JobOutput): Run[] {
  return runs.map((run) => {
    const end = output.runs.get(run.run)?.end;
    if (!end || FINAL_STATES.has(run.state)) return run;
    return { ...run, state: end.state, exit_code: end.exit_code, duration_ms: end.duration_ms, reason: end.reason };
  });
}

export function RunViewPage() {
  const { job: id } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate();
  const job = useQuery(jobQuery(id));
  const runs = useInfiniteQuery(runsQuery(id));
  const { output, error: outputError } = useJobOutput(id);
  const { data, hasNextPage, isFetchingNextPage, fetchNextPage } = runs;

  // The list and the counts have the last word once the stream has ended.
  const { refetch: refetchJob } = job;
  const { refetch: refetchRuns } = runs;
  useEffect(() => {
    if (output.done) void Promise.all([refetchJob(), refetchRuns()]);
  }, [output.done, refetchJob, refetchRuns]);

  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);

  const all = useMemo(
    () => withOutput((data?.pages ?? []).flatMap((page) => page.items), output),
    [data, output],
  );
  const state = RUN_STATES.find((each) => each === search.state);
  const rows = useMemo(() => (state ? all.filter((run) => run.state === state) : all), [all, state]);
  const shown = all.find((run) => run.run === search.run) ?? rows[0];
  const columns = useMemo(() => runColumns({ lastLine: (run) => lastLine(output.runs.get(run)) }), [output]);

  const waits = job.data !== undefined && jobCan.review(job.data);
  const isWhole = job.data !== undefined && !hasNextPage && all.length === job.data.runs_total;

  const folded = search.folded === true && !waits;

  const show = (change: { run?: string; state?: string | undefined; folded?: boolean | undefined }): void =>
    void navigate({ to: "/jobs/$job", params: { job: id }, search: { ...search, ...change }, replace: true });

  return (
    <Page
      title={job.data ? jobText(job.data) : words.columns.job}
      fill
      note={job.data ? <JobNote job={job.data} /> : undefined}
      actions={job.data ? <JobActions job={job.data} runs={isWhole ? all : null} /> : undefined}
    >
      {job.isPending ? <Loading rows={8} /> : null}
      {job.error ? (
        <ErrorPanel error={describe(words.failedJob, job.error)} onRetry={() => void job.refetch()} />
      ) : null}
      {job.data ? (
        <Counts
          job={job.data}
          runs={all}
          state={folded ? undefined : state}
          folded={waits || job.data.runs_total < 2 ? undefined : folded}
          onState={(next) => show({ state: next, folded: undefined })}
          onFolded={() => show({ state: undefined, folded: true })}
        />
      ) : null}
      {runs.error ? (
        <ErrorPanel error={describe(words.failedRuns, runs.error)} onRetry={() => void runs.refetch()} />
      ) : null}
      {outputError ? <ErrorPanel error={describe(words.failedOutput, outputError)} /> : null}
      {data ? (
        <div className={classes.split2} data-single={(all.length <= 1 && !waits) || undefined}>
          <div className={classes.list}>
            {folded ? (
              <Folded job={id} current={shown?.run ?? null} onOpen={(run) => show({ run })} />
            ) : (
              <Grid
                label={words.runs}
                columns={waits ? REVIEW_COLUMNS : columns}
                rows={rows}
                rowId={(run) => run.run}
                rowName={(run) => `${run.hostname}, ${RUN_MARKS[run.state]?.label ?? run.state}`}
                total={state ? rows.length : job.data?.runs_total}
                current={shown?.run ?? null}
                onOpen={(run) => show({ run: run.run })}
                empty={
                  <EmptyState
                    title={words.nothingMatches}
                    action={
                      <Button variant="default" onClick={() => show({ state: undefined })}>
                        {words.showAll}
                      </Button>
                    }
                  />
                }
              />
            )}
          </div>
          {waits ? (
            <Review job={job.data} runs={isWhole ? all : null} />
          ) : shown ? (
            <RunDetail key={shown.run} run={shown} output={output.runs.get(shown.run)} />
          ) : (
            <EmptyState title={words.pickRun} />
          )}
        </div>
      ) : null}
    </Page>
  );
}

function JobNote({ job }: { job: Job }) {
  return (
    <span className={classes.note}>
      <StateMark mark={jobMark(job)} />
      <span>{plural(job.runs_total, "device", "devices")}</span>
      <span>
        <Instant at={job.created_at} />
        {job.created_by ? ` ${words.by} ${job.created_by}` : ""}
        {job.approved_by ? `, ${words.approvedBy} ${job.approved_by}` : ""}
      </span>
      {job.waves ? (
        <span>
          {words.wave(job.waves.wave, job.waves.waves_total, job.waves.failures)}
          {job.waves.reason ? `: ${job.waves.reason}` : ""}
        </span>
      ) : null}
      <span className="mono" title={job.script_digest ? `${words.digest} ${job.script_digest}` : undefined}>
        {job.job.slice(0, 12)}
      </span>
    </span>
  );
}

function JobActions({ job, runs }: { job: Job; runs: readonly Run[] | null }) {
  const cancel = useCancelJob(job.job);
  const goOn = useContinueJob(job.job);
  const session = useQuery(sessionQuery).data;
  const why = refusal(session, "jobs.cancel");
  const mayRun = refusal(session, "jobs.run");
  const [asking, setAsking] = useState(false);
  const failed = (runs ?? []).filter((run) => TROUBLE_STATES.includes(run.state));
  return (
    <>
      {failed.length > 0 && jobCan.rerun(job) ? (
        <Button
          variant="default"
          leftSection={<Icon name="refresh" />}
          disabled={mayRun !== undefined}
          title={mayRun}
          onClick={() => setAsking(true)}
        >
          {words.rerunFailed(plural(failed.length, "device", "devices"))}
        </Button>
      ) : null}
      {asking ? <RerunDialog job={job} runs={failed} onClose={() => setAsking(false)} /> : null}
      {goOn.error ? <span role="alert">{describe(words.failedContinue, goOn.error).why}</span> : null}
      {jobCan.continue(job) ? (
        <Button
          variant="default"
          leftSection={<Icon name="player-play" />}
          loading={goOn.isPending}
          disabled={mayRun !== undefined}
          title={mayRun}
          onClick={() => goOn.mutate()}
        >
          {words.continueJob}
        </Button>
      ) : null}
      {cancel.error ? <span role="alert">{describe(words.failedCancel, cancel.error).why}</span> : null}
      {jobCan.cancel(job) ? (
        <Button
          variant="default"
          leftSection={<Icon name="player-stop" />}
          loading={cancel.isPending}
          disabled={why !== undefined}
          title={why}
          onClick={() => cancel.mutate()}
        >
          {words.cancelRun}
        </Button>
      ) : null}
    </>
  );
}

interface CountsProps {
  job: Job;
  runs: readonly Run[];
  state: RunState | undefined;
  /** Whether runs of the same output are shown as one; nothing where there is one run only. */
  folded: boolean | undefined;
  onFolded: () => void;
  onState: (state: string | undefined) => void;
}

/** Counts and rows come from one source: while all runs are loaded they are counted from the rows themselves. */
export function countsOf(job: Job, runs: readonly Run[]): Partial<Record<RunState, number>> {
  if (runs.length < job.runs_total) return job.counts;
  const counts: Partial<Record<RunState, number>> = {};
  for (const run of runs) counts[run.state] = (counts[run.state] ?? 0) + 1;
  return counts;
}

function Counts({ job, runs, state, folded, onFolded, onState }: CountsProps) {
  const counts = countsOf(job, runs);
  const present = RUN_STATES.filter((each) => (counts[each] ?? 0) > 0 || each === state);
  return (
    <div className={classes.counts} role="group" aria-label={words.counts}>
      <ProgressBar counts={counts} total={job.runs_total} size="md" />
      <div className={classes.chips}>
        <button type="button" aria-pressed={state === undefined && !folded} onClick={() => onState(undefined)}>
          {words.allStates} <strong>{count(job.runs_total)}</strong>
        </button>
        {present.map((each) => (
          <button key={each} type="button" aria-pressed={state === each} onClick={() => onState(each)}>
            <StateMark mark={RUN_MARKS[each]} /> <strong>{count(counts[each] ?? 0)}</strong>
          </button>
        ))}
        {folded === undefined ? null : (
          <button type="button" aria-pressed={folded} onClick={onFolded}>
            {words.folded}
          </button>
        )}
      </div>
    </div>
  );
}
