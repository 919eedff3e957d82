// What a job asks for that waits for another operator's approval, and the approval of exactly that.

import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState, type ReactNode } from "react";
import { describe } from "../../api/errors";
import type { Job, Run } from "../../api/types";
import { jobCan, refusal } from "../../lib/can";
import { count, duration, plural, size } from "../../lib/units";
import { CopyButton } from "../../ui/CopyButton";
import { ErrorPanel } from "../../ui/ErrorPanel";
import formClasses from "../../ui/Form.module.css";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { notify } from "../../ui/notify";
import { sessionQuery } from "../session/queries";
import classes from "./Jobs.module.css";
import { askedQuery, useApproveJob } from "./queries";
import { approvalOf, quoted, readAsked, reviewDigest, visible, type ApprovalBody, type Asked } from "./review";
import { words } from "./words";

interface ReviewProps {
  job: Job;
  /** All of the job's runs; null while some are still to be read. */
  runs: readonly Run[] | null;
}

export function Review({ job, runs }: ReviewProps) {
  const session = useQuery(sessionQuery).data;
  const query = useQuery(askedQuery(job.job));
  const asked = useMemo(() => (query.data ? readAsked(query.data) : null), [query.data]);
  const review = useReview(asked, runs);
  const approve = useApproveJob(job.job);
  const isOwn = jobCan.isOwn(job, session);
  const why = refusal(session, "jobs.run");
  const devices = plural(job.runs_total, "device", "devices");

  return (
    <section className={classes.detail} aria-label={words.review}>
      <div className={classes.reviewHead}>
        <Icon name="users" size={18} />
        <p>{isOwn ? words.ownReview : words.reviewLead(job.created_by ?? words.somebody, devices)}</p>
      </div>
      {query.isPending ? <Loading rows={6} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedReview, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.data && !asked ? <p role="alert">{words.unreadable}</p> : null}
      {asked ? (
        <AskedView job={job} asked={asked} review={review?.digest ?? words.none} />
      ) : null}
      {approve.error ? <ErrorPanel error={describe(words.failedApprove, approve.error)} /> : null}
      {asked && !isOwn ? (
        <div className={formClasses.buttons}>
          <Button
            leftSection={<Icon name="check" />}
            disabled={!review || why !== undefined}
            title={why}
            loading={approve.isPending}
            onClick={() => review && approve.mutate(review.body, { onSuccess: () => notify(words.jobApproved(devices)) })}
          >
            {words.approveOn(devices)}
          </Button>
        </div>
      ) : null}
    </section>
  );
}

/** All of what a request says. */
export function AskedView({ job, asked, review = null }: { job: Job; asked: Asked; review?: string | null }) {
  return (
    <div className={classes.review} tabIndex={0} role="group" aria-label={words.asks}>
      <Facts job={job} asked={asked} review={review} />
      <Script asked={asked} />
    </div>
  );
}

interface Reviewed {
  body: ApprovalBody;
  digest: string;
}

/** The body of an approval, computed from what is shown at this moment and from no digest that anybody names. */
function useReview(asked: Asked | null, runs: readonly Run[] | null): Reviewed | null {
  const [made, setMade] = useState<(Reviewed & { asked: Asked; runs: readonly Run[] }) | null>(null);
  useEffect(() => {
    if (!asked || !runs) return;
    let isStale = false;
    void approvalOf(asked, runs).then(async (body) => {
      const digest = await reviewDigest(body);
      if (!isStale) setMade({ body, digest, asked, runs });
    });
    return () => {
      isStale = true;
    };
  }, [asked, runs]);
  return made && made.asked === asked && made.runs === runs ? made : null;
}

/** What is shown under a name of its own; whatever else a request says is shown too, as it stands. */
const NAMED = new Set(["targets", "role", "verb", "language", "context", "script", "args", "env", "timeout_ms", "expires_in_ms"]);

function Facts({ job, asked, review }: { job: Job; asked: Asked; review: string | null }) {
  const member = (name: string): unknown => asked.members.get(name);
  const text = (name: string, otherwise: string): string => {
    const value = member(name);
    return value === undefined || value === null ? otherwise : typeof value === "string" ? visible(value) : quoted(value);
  };
  const time = (name: string): string => {
    const value = member(name);
    return value === undefined ? words.usual : typeof value === "number" ? duration(value) : quoted(value);
  };
  const rows: [string, ReactNode][] = [
    [words.askedBy, job.created_by ?? words.none],
    [words.asked, <Instant key="at" at={job.created_at} />],
    [words.columns.what, `${text("role", "script")}.${text("verb", "run")}`],
    [words.language, text("language", words.none)],
    [words.context, text("context", "SYSTEM")],
    [words.targets, targetText(member("targets"))],
    [words.columns.devices, count(job.runs_total)],
    [words.args, <Values key="args" value={member("args")} />],
    [words.env, <Values key="env" value={member("env")} />],
    [words.timeout, time("timeout_ms")],
    [words.waitsFor, time("expires_in_ms")],
    [words.endsAt, <Instant key="ends" at={job.expires_at} />],
  ];
  for (const [name, value] of asked.members) {
    if (!NAMED.has(name)) rows.push([visible(name), <code key={name}>{quoted(value)}</code>]);
  }
  if (asked.path !== "/api/v1/jobs") rows.push([words.request, visible(`${asked.method} ${asked.path}`)]);
  return (
    <dl className={formClasses.facts}>
      {rows.map(([name, value]) => (
        <Fact key={name} name={name}>
          {value}
        </Fact>
      ))}
      {review === null ? null : (
        <Fact name={words.reviewDigest}>
          <span className={classes.digest} title={words.reviewDigestHint} data-testid="review-digest">
            {review}
          </span>
        </Fact>
      )}
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

function targetText(targets: unknown): string {
  const { all, guids } = (targets ?? {}) as { all?: unknown; guids?: unknown };
  const others = Object.keys((targets ?? {}) as object).filter((name) => name !== "all" && name !== "guids");
  if (others.length > 0 || typeof (all ?? false) !== "boolean" || !Array.isArray(guids ?? [])) return quoted(targets);
  return all === true ? words.all : words.named(plural((guids as unknown[] | undefined)?.length ?? 0, "device", "devices"));
}

/** Arguments or variables, one a line, each in quotes, so that none passes for two. */
function Values({ value }: { value: unknown }) {
  const lines = Array.isArray(value)
    ? value.map(quoted)
    : typeof value === "object" && value !== null
      ? Object.entries(value).map(([name, each]) => `${visible(name)}=${quoted(each)}`)
      : value === undefined
        ? []
        : [quoted(value)];
  if (lines.length === 0) return <>{words.none}</>;
  return <pre className={classes.values}>{lines.join("\n")}</pre>;
}

function Script({ asked }: { asked: Asked }) {
  const script = asked.members.get("script");
  if (script === undefined || script === null) return null;
  const text = typeof script === "string" ? script : JSON.stringify(script);
  const lines = text.replace(/\n$/, "").split("\n").length;
  return (
    <>
      <div className={classes.scriptHead}>
        <h2>{words.script}</h2>
        <span className="dim">
          {plural(lines, "line", "lines")}, {size(new Blob([text]).size)}
        </span>
        <CopyButton text={text} label={words.copyScript} />
      </div>
      <pre className={classes.script} data-testid="review-script">
        {visible(text)}
      </pre>
    </>
  );
}
