import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { describe } from "../../api/errors";
import type { Approval, Job } from "../../api/types";
import { holds, jobCan, pageCan } from "../../lib/can";
import { jobMark, troubleCount } from "../../lib/states";
import { count, plural } from "../../lib/units";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { Page, Section } from "../../ui/Page";
import { ProgressBar } from "../../ui/ProgressBar";
import { StateMark } from "../../ui/StateMark";
import { useNow } from "../../ui/now";
import { deviceCountQuery } from "../devices/queries";
import { pendingApprovalsQuery } from "../enrolment/queries";
import { jobText } from "../jobs/jobText";
import { recentJobsQuery } from "../jobs/queries";
import { sessionQuery } from "../session/queries";
import classes from "./Home.module.css";
import { words } from "./words";

const DAY_MS = 86_400_000;
const RECENT = 5;

/** The jobs that a person should look at. */
export function troubled(jobs: readonly Job[], now: number): Job[] {
  return jobs.filter((job) => troubleCount(job) > 0 && now - Date.parse(job.created_at) < DAY_MS);
}

export function HomePage() {
  const session = useQuery(sessionQuery).data;
  const seesApprovals = holds(session, "approvals.read");
  const seesJobs = pageCan.jobs(session);
  const approvals = useQuery({ ...pendingApprovalsQuery, enabled: seesApprovals });
  const jobs = useQuery({ ...recentJobsQuery, enabled: seesJobs });
  const devices = useQuery({ ...deviceCountQuery, enabled: pageCan.devices(session) });
  const now = useNow();
  const pending = approvals.data ?? [];
  const trouble = troubled(jobs.data ?? [], now);
  const waiting = (jobs.data ?? []).filter(jobCan.review);
  const recent = (jobs.data ?? []).slice(0, RECENT);
  const error = approvals.error ?? jobs.error;
  const ready = (approvals.isSuccess || !seesApprovals) && (jobs.isSuccess || !seesJobs);

  return (
    <Page
      title={words.title}
      note={
        devices.data !== undefined ? (
          <Link to="/devices" className={classes.count}>
            {words.devices(plural(devices.data, "device", "devices"))}
          </Link>
        ) : undefined
      }
    >
      {error ? (
        <ErrorPanel
          error={describe(words.failed, error)}
          onRetry={() => void Promise.all([approvals.refetch(), jobs.refetch()])}
        />
      ) : null}
      {!ready && !error ? <Loading rows={4} /> : null}
      {ready && devices.data === 0 && pending.length === 0 ? (
        <EmptyState
          title={words.noDevices}
          action={<Button renderRoot={(props) => <Link to="/enrolment" {...props} />}>{words.toEnrolment}</Button>}
        >
          {words.noDevicesText}
        </EmptyState>
      ) : null}
      {ready && pending.length === 0 && waiting.length === 0 && trouble.length === 0 && devices.data !== 0 ? (
        <div className={classes.calm}>
          <Icon name="shield-check" size={22} />
          <div>
            <h2>{words.nothing}</h2>
            <p>{words.nothingText}</p>
          </div>
        </div>
      ) : null}
      {pending.length > 0 ? (
        <Section
          title={words.approvals}
          note={count(pending.length)}
          actions={
            <Button size="xs" variant="default" renderRoot={(props) => <Link to="/enrolment" {...props} />}>
              {words.decide}
            </Button>
          }
        >
          <ul className={classes.rows}>
            {pending.map((approval) => (
              <ApprovalLine key={approval.id} approval={approval} />
            ))}
          </ul>
        </Section>
      ) : null}
      {waiting.length > 0 ? (
        <Section title={words.waiting} note={count(waiting.length)}>
          <ul className={classes.rows}>
            {waiting.map((job) => (
              <JobLine key={job.job} job={job} />
            ))}
          </ul>
        </Section>
      ) : null}
      {trouble.length > 0 ? (
        <Section title={words.trouble} note={`${count(trouble.length)} ${words.troubleNote}`}>
          <ul className={classes.rows}>
            {trouble.map((job) => (
              <JobLine key={job.job} job={job} trouble />
            ))}
          </ul>
        </Section>
      ) : null}
      {ready && recent.length > 0 ? (
        <Section title={words.recent}>
          <ul className={classes.rows}>
            {recent.map((job) => (
              <JobLine key={job.job} job={job} />
            ))}
          </ul>
        </Section>
      ) : null}
    </Page>
  );
}

function ApprovalLine({ approval }: { approval: Approval }) {
  return (
    <li>
      <Link to="/enrolment" className={classes.line} data-kind="approval">
        <strong>{approval.hostname}</strong>
        <span className="dim">{[approval.site, approval.os].filter(Boolean).join(" · ")}</span>
        <span className={classes.right}>
          <Instant at={approval.requested_at} />
        </span>
      </Link>
    </li>
  );
}

function JobLine({ job, trouble = false }: { job: Job; trouble?: boolean }) {
  return (
    <li>
      <Link to="/jobs/$job" params={{ job: job.job }} className={classes.line}>
        <strong>{jobText(job)}</strong>
        <StateMark mark={jobMark(job)} />
        <span className="dim">
          {trouble
            ? words.failedRuns(`${count(troubleCount(job))} of ${plural(job.runs_total, "device", "devices")}`)
            : plural(job.runs_total, "device", "devices")}
        </span>
        <span className={classes.bar}>
          <ProgressBar counts={job.counts} total={job.runs_total} />
        </span>
        <span className={classes.right}>
          <Instant at={job.created_at} />
        </span>
      </Link>
    </li>
  );
}
