import { Button, MultiSelect, SegmentedControl, Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useState } from "react";
import { describe } from "../../api/errors";
import type { Language, RunContext } from "../../api/types";
import { jobLimit, refusal } from "../../lib/can";
import { styleNonce } from "../../lib/nonce";
import { markOf, PRESENCE_MARKS } from "../../lib/states";
import { count, plural } from "../../lib/units";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { Page } from "../../ui/Page";
import { everyDeviceQuery } from "../devices/queries";
import { selectionOf } from "../devices/selection";
import { sessionQuery } from "../session/queries";
import classes from "./Jobs.module.css";
import { useSubmitJob } from "./queries";
import { readQuickJob, splitTargets, splitText, type QuickJob } from "./quickJob";
import { EXPIRIES, LANGUAGE_LABELS, TIMEOUTS, words } from "./words";

const CodeEditor = lazy(() => import("../../ui/CodeEditor"));
const route = getRouteApi("/app/run");

/** More chosen devices than this are shown as a count. */
const MOST_PILLS = 40;

export function QuickJobPage() {
  const search = route.useSearch();
  const navigate = useNavigate();
  const session = useQuery(sessionQuery).data;
  const devices = useQuery(everyDeviceQuery);
  const submit = useSubmitJob();
  const [form, setForm] = useState<QuickJob>(() => ({
    all: search.all ?? false,
    guids: selectionOf(search),
    language: "bash",
    context: "SYSTEM",
    timeoutMs: 300_000,
    expiresInMs: 86_400_000,
    script: "",
  }));
  const [missing, setMissing] = useState<{ targets?: string; script?: string }>({});
  const patch = (change: Partial<QuickJob>): void => {
    setForm((before) => ({ ...before, ...change }));
    setMissing({});
  };

  const known = devices.data?.items;
  const byGuid = useMemo(() => new Map((known ?? []).map((device) => [device.guid, device])), [known]);
  const targets = form.all ? (known ?? []) : form.guids.flatMap((guid) => byGuid.get(guid) ?? []);
  const split = splitTargets(targets);
  const targetCount = form.all ? (devices.data?.total ?? 0) : form.guids.length;
  const why = refusal(session, "jobs.run");
  const active = targets.filter((device) => device.status === "active");
  const limit = jobLimit(session, active.map((device) => device.site));

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
    <Page title={words.runTitle} fill>
      <div className={classes.form}>
        {submit.error ? <ErrorPanel error={describe(words.failedSubmit, submit.error)} /> : null}
        <fieldset className={classes.targets}>
          <legend>{words.targets}</legend>
          <SegmentedControl
            size="xs"
            aria-label={words.targets}
            value={form.all ? "all" : "chosen"}
            onChange={(value) => patch({ all: value === "all" })}
            data={[
              { value: "chosen", label: words.chosen },
              { value: "all", label: words.all },
            ]}
          />
          {form.all ? null : form.guids.length > MOST_PILLS ? (
            <span>
              <strong>{count(form.guids.length)}</strong> {words.chosen.toLowerCase()}
            </span>
          ) : (
            <MultiSelect
              className={classes.picker}
              aria-label={words.pick}
              placeholder={form.guids.length === 0 ? words.pickHint : undefined}
              searchable
              clearable
              clearButtonProps={{ "aria-label": "Remove all" }}
              limit={50}
              nothingFoundMessage="No device of this name"
              comboboxProps={{ transitionProps: { duration: 0 } }}
              error={missing.targets}
              data={(known ?? []).map((device) => ({
                value: device.guid,
                label: `${device.hostname} (${markOf(PRESENCE_MARKS, device.presence).label.toLowerCase()})`,
              }))}
              value={[...form.guids]}
              onChange={(guids) => patch({ guids })}
            />
          )}
          <span className={classes.split} aria-live="polite">
            {targetCount > 0 && known ? splitText(split) : null}
            {limit !== null && active.length > limit ? ` ${words.overLimit(plural(limit, "device", "devices"))}.` : null}
          </span>
        </fieldset>
        <div className={classes.options}>
          <Select
            label={words.language}
            data={Object.entries(LANGUAGE_LABELS).map(([value, label]) => ({ value, label }))}
            value={form.language}
            onChange={(value) => patch({ language: (value ?? "bash") as Language })}
          />
          <Select
            label={words.context}
            data={Object.entries(words.contexts).map(([value, label]) => ({ value, label }))}
            value={form.context}
            onChange={(value) => patch({ context: (value ?? "SYSTEM") as RunContext })}
          />
          <Select
            label={words.timeout}
            data={[...TIMEOUTS]}
            value={String(form.timeoutMs)}
            onChange={(value) => patch({ timeoutMs: Number(value) })}
          />
          <Select
            label={words.expires}
            data={[...EXPIRIES]}
            value={String(form.expiresInMs)}
            onChange={(value) => patch({ expiresInMs: Number(value) })}
          />
        </div>
        <div className={classes.editor} data-bad={missing.script ? true : undefined}>
          <Suspense fallback={<p className="dim">{words.preparing}</p>}>
            <CodeEditor
              label={words.script}
              value={form.script}
              language={form.language}
              nonce={styleNonce()}
              onChange={(script) => patch({ script })}
              onSubmit={run}
            />
          </Suspense>
        </div>
        <div className={classes.submit}>
          <span className={missing.script ? classes.missing : "dim"} role={missing.script ? "alert" : undefined}>
            {missing.script ?? words.submitHint}
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
