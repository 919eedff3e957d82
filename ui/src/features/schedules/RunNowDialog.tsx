// Lets a schedule run now, in the name of whoever looks at exactly what it asks for.

import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useMemo } from "react";
import { hex } from "../../api/encoding";
import { describe } from "../../api/errors";
import { requestDigest } from "../../api/signing";
import type { Schedule } from "../../api/types";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import formClasses from "../../ui/Form.module.css";
import { Loading } from "../../ui/Loading";
import { AskedView, othersOf } from "../jobs/AskedView";
import { askedJob, readAsked } from "../jobs/review";
import { useAskedAssembly } from "../jobs/useAskedAssembly";
import { askedScheduleQuery, useRunSchedule } from "./queries";
import { words } from "./words";

/** What the request of a schedule goes to; another is none that this dialog shows. */
const PATH = "/api/v1/schedules";
const OF_A_SCHEDULE = new Set(["job"]);

export function RunNowDialog({ schedule, onClose }: { schedule: Schedule; onClose: () => void }) {
  const navigate = useNavigate();
  const query = useQuery(askedScheduleQuery(schedule.schedule));
  const run = useRunSchedule(schedule.schedule);
  const asked = useMemo(() => (query.data ? readAsked(query.data) : null), [query.data]);
  const members = useMemo(() => (asked?.path === PATH ? (askedJob(asked)?.members ?? null) : null), [asked]);
  const kept = useAskedAssembly(members);

  const go = async (): Promise<void> => {
    if (!asked) return;
    run.mutate(hex(await requestDigest(asked)), {
      onSuccess: ({ job: made }) => void navigate({ to: "/jobs/$job", params: { job: made } }),
    });
  };

  return (
    <Dialog title={words.runNowTitle(schedule.name)} size="lg" onClose={onClose}>
      <div className={formClasses.form}>
        <p>{words.runNowLead(schedule.created_by)}</p>
        {run.error ? <ErrorPanel error={describe(words.failedRun, run.error)} /> : null}
        {query.isPending ? <Loading rows={5} /> : null}
        {query.error ? (
          <ErrorPanel error={describe(words.failedAsked, query.error)} onRetry={() => void query.refetch()} />
        ) : null}
        {query.data && !members ? <p role="alert">{words.unreadable}</p> : null}
        {kept.error ? <ErrorPanel error={describe(words.failedAsked, kept.error)} /> : null}
        {asked && members ? <AskedView members={members} assembly={kept.assembly} after={othersOf(asked.members, OF_A_SCHEDULE)} /> : null}
        <div className={formClasses.buttons}>
          <Button variant="default" onClick={onClose}>
            {words.cancel}
          </Button>
          <Button disabled={!kept.isReadable} loading={run.isPending} onClick={() => void go()}>
            {words.runNowButton}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
