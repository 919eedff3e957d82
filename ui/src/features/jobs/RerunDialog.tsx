// Does a job again where it failed: the author's request as it was signed, in the name of whoever asks now.

import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useMemo } from "react";
import { describe } from "../../api/errors";
import type { Job, Run } from "../../api/types";
import { plural } from "../../lib/units";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import formClasses from "../../ui/Form.module.css";
import { Loading } from "../../ui/Loading";
import { AskedView } from "./AskedView";
import { askedQuery, useRerun } from "./queries";
import { askedJob, readAsked } from "./review";
import { useAskedAssembly } from "./useAskedAssembly";
import { words } from "./words";

interface RerunDialogProps {
  job: Job;
  runs: readonly Run[];
  onClose: () => void;
}

export function RerunDialog({ job, runs, onClose }: RerunDialogProps) {
  const navigate = useNavigate();
  const query = useQuery(askedQuery(job.job));
  const asked = useMemo(() => {
    const read = query.data ? readAsked(query.data) : null;
    return read && askedJob(read);
  }, [query.data]);
  const rerun = useRerun(job.job);
  const kept = useAskedAssembly(asked?.members ?? null);
  const { isReadable } = kept;
  const go = (): void => {
    if (!asked) return;
    rerun.mutate(
      { asked, runs },
      {
        onSuccess: ({ job: made }) => {
          onClose();
          void navigate({ to: "/jobs/$job", params: { job: made }, search: {} });
        },
      },
    );
  };
  return (
    <Dialog title={words.rerunTitle} size="lg" onClose={onClose}>
      <div className={formClasses.form}>
        <p>{words.rerunLead(plural(runs.length, "device", "devices"), job.created_by ?? words.somebody)}</p>
        {rerun.error ? <ErrorPanel error={describe(words.failedRerun, rerun.error)} /> : null}
        {query.isPending ? <Loading rows={5} /> : null}
        {query.error ? (
          <ErrorPanel error={describe(words.failedReview, query.error)} onRetry={() => void query.refetch()} />
        ) : null}
        {query.data && !asked ? <p role="alert">{words.rerunUnreadable}</p> : null}
        {kept.error ? <ErrorPanel error={describe(words.failedReview, kept.error)} /> : null}
        {asked ? <AskedView members={asked.members} assembly={kept.assembly} /> : null}
        <div className={formClasses.buttons}>
          <Button variant="default" onClick={onClose}>
            {words.cancel}
          </Button>
          <Button disabled={!isReadable} loading={rerun.isPending} onClick={go}>
            {words.rerunNow}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
