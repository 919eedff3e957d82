import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { describe } from "../../api/errors";
import { refusal } from "../../lib/can";
import type { AssemblyShown } from "../../api/types";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { Page } from "../../ui/Page";
import { selectionOf } from "../devices/selection";
import { sessionQuery } from "../session/queries";
import { JobFields } from "./JobFields";
import classes from "./Jobs.module.css";
import { useSubmitJob } from "./queries";
import { emptyJob, keptOf, readQuickJob, type JobErrors, type QuickJob } from "./quickJob";
import { WithKept } from "./WithKept";
import { words } from "./words";

const route = getRouteApi("/app/run");

export function QuickJobPage() {
  const { assembly, version } = route.useSearch();
  return (
    <WithKept title={words.runTitle} assembly={assembly} version={version}>
      {(shown) => <JobForm shown={shown} />}
    </WithKept>
  );
}

function JobForm({ shown }: { shown: AssemblyShown | undefined }) {
  const search = route.useSearch();
  const navigate = useNavigate();
  const session = useQuery(sessionQuery).data;
  const submit = useSubmitJob();
  const [form, setForm] = useState<QuickJob>(() => ({
    ...emptyJob,
    aim: search.all ? "all" : "chosen",
    guids: selectionOf(search),
    ...(shown ? keptOf(shown) : {}),
  }));
  const [missing, setMissing] = useState<JobErrors>({});
  const why = refusal(session, "jobs.run");

  const run = (): void => {
    if (submit.isPending || why) return;
    const read = readQuickJob(form);
    if (!("request" in read)) {
      setMissing(read);
      return;
    }
    submit.mutate(read.request, {
      onSuccess: ({ job }) => void navigate({ to: "/jobs/$job", params: { job } }),
    });
  };

  return (
    <Page title={words.runTitle} fill={!shown}>
      <div className={classes.form}>
        {submit.error ? <ErrorPanel error={describe(words.failedSubmit, submit.error)} /> : null}
        <JobFields
          form={form}
          shown={shown}
          missing={missing}
          now
          onChange={(change) => {
            setForm((before) => ({ ...before, ...change }));
            setMissing({});
          }}
          onSubmit={run}
        />
        <div className={classes.submit}>
          <span className={missing.script ? classes.missing : "dim"} role={missing.script ? "alert" : undefined}>
            {missing.script ?? (shown ? null : words.submitHint)}
          </span>
          <Button
            size="md"
            leftSection={<Icon name="player-play" />}
            loading={submit.isPending}
            disabled={why !== undefined}
            title={why}
            onClick={run}
          >
            {words.run}
          </Button>
        </div>
      </div>
    </Page>
  );
}
