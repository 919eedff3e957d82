// What a job asks for that waits for another operator's approval, and the approval of exactly that.

import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { describe } from "../../api/errors";
import type { Job, Run } from "../../api/types";
import { jobCan, refusal } from "../../lib/can";
import { count, plural } from "../../lib/units";
import { ErrorPanel } from "../../ui/ErrorPanel";
import formClasses from "../../ui/Form.module.css";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { notify } from "../../ui/notify";
import { sessionQuery } from "../session/queries";
import { AskedView } from "./AskedView";
import classes from "./Jobs.module.css";
import { askedQuery, useApproveJob } from "./queries";
import { approvalOf, readAsked, reviewDigest, visible, type ApprovalBody, type Asked } from "./review";
import { useAskedAssembly } from "./useAskedAssembly";
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
  const kept = useAskedAssembly(asked?.members ?? null);
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
      {kept.error ? <ErrorPanel error={describe(words.failedReview, kept.error)} /> : null}
      {asked ? (
        <AskedView
          members={asked.members}
          assembly={kept.assembly}
          before={[
            [words.askedBy, job.created_by ?? words.none],
            [words.asked, <Instant key="at" at={job.created_at} />],
            ...(asked.path === "/api/v1/jobs" ? [] : [[words.request, visible(`${asked.method} ${asked.path}`)] as const]),
            [words.columns.devices, count(job.runs_total)],
          ]}
          after={[
            [words.endsAt, <Instant key="ends" at={job.expires_at} />],
            [words.reviewDigest, <ReviewDigest key="digest" digest={review?.digest} />],
          ]}
        />
      ) : null}
      {approve.error ? <ErrorPanel error={describe(words.failedApprove, approve.error)} /> : null}
      {asked && !isOwn ? (
        <div className={formClasses.buttons}>
          <Button
            leftSection={<Icon name="check" />}
            disabled={!review || !kept.isReadable || why !== undefined}
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

function ReviewDigest({ digest }: { digest: string | undefined }) {
  return (
    <span className={classes.digest} title={words.reviewDigestHint} data-testid="review-digest">
      {digest ?? words.none}
    </span>
  );
}
