import { Button, Select, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useMemo, useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import { CONCURRENCIES, MISFIRES, type AssemblyShown, type Concurrency, type Misfire } from "../../api/types";
import { refusal } from "../../lib/can";
import { zoneName } from "../../lib/time";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { Page, Section } from "../../ui/Page";
import { JobFields } from "../jobs/JobFields";
import { emptyJob, keptOf, type QuickJob } from "../jobs/quickJob";
import { WithKept } from "../jobs/WithKept";
import { sessionQuery } from "../session/queries";
import { Firings } from "./Firings";
import { useMakeSchedule } from "./queries";
import { readSchedule, ruleOf, type ScheduleErrors, type ScheduleForm } from "./scheduleForm";
import classes from "./Schedules.module.css";
import { TimingFields } from "./TimingFields";
import { CONCURRENCY_LABELS, JITTERS, LATE_LIMITS, MISFIRE_LABELS, words } from "./words";

const TYPING_MS = 250;

const route = getRouteApi("/app/schedules/new");

export function NewSchedulePage() {
  const { assembly, version } = route.useSearch();
  return (
    <WithKept title={words.makeTitle} assembly={assembly} version={version}>
      {(shown) => <ScheduleFields shown={shown} />}
    </WithKept>
  );
}

function ScheduleFields({ shown }: { shown: AssemblyShown | undefined }) {
  const navigate = useNavigate();
  const session = useQuery(sessionQuery).data;
  const make = useMakeSchedule();
  const [form, setForm] = useState<ScheduleForm>(() => ({
    name: shown?.content.name ?? "",
    follows: "cron",
    cron: "",
    every: "2",
    unit: "days",
    zone: zoneName(),
    start: "",
    end: "",
    misfire: "once",
    most: "10",
    lateLimitMs: 0,
    concurrency: "allow",
    jitterMs: 0,
  }));
  const [job, setJob] = useState<QuickJob>(() => ({ ...emptyJob, ...(shown ? keptOf(shown) : {}) }));
  const [errors, setErrors] = useState<ScheduleErrors>({});
  const why = refusal(session, "jobs.run");
  const patch = (change: Partial<ScheduleForm>): void => {
    setForm((before) => ({ ...before, ...change }));
    setErrors({});
  };
  const [typed] = useDebouncedValue(JSON.stringify(ruleOf(form)), TYPING_MS);
  const rule = useMemo(() => JSON.parse(typed) as ReturnType<typeof ruleOf>, [typed]);

  const submit = (event?: FormEvent): void => {
    event?.preventDefault();
    if (make.isPending || why) return;
    const read = readSchedule(form, job);
    if (!("request" in read)) {
      setErrors(read.errors);
      return;
    }
    make.mutate(read.request, {
      onSuccess: ({ schedule }) => void navigate({ to: "/schedules/$schedule", params: { schedule } }),
    });
  };

  return (
    <Page title={words.makeTitle}>
      <form className={classes.split} onSubmit={submit} noValidate>
        <div className={classes.form}>
          {make.error ? <ErrorPanel error={describe(words.failedMake, make.error)} /> : null}
          <TextInput
            label={words.name}
            autoComplete="off"
            value={form.name}
            error={errors.name}
            onChange={(event) => patch({ name: event.currentTarget.value })}
          />
          <Section title={words.when}>
            <TimingFields form={form} error={errors.timing} onChange={patch} />
            <div className={classes.fields}>
              <Select
                label={words.misfire}
                data={MISFIRES.map((value) => ({ value, label: MISFIRE_LABELS[value] }))}
                value={form.misfire}
                onChange={(value) => patch({ misfire: (value ?? "once") as Misfire })}
              />
              {form.misfire === "all" ? (
                <TextInput
                  label={words.most}
                  inputMode="numeric"
                  autoComplete="off"
                  value={form.most}
                  error={errors.most}
                  onChange={(event) => patch({ most: event.currentTarget.value })}
                />
              ) : null}
              {form.misfire === "skip" ? null : (
                <Select
                  label={words.late}
                  data={[...LATE_LIMITS]}
                  value={String(form.lateLimitMs)}
                  onChange={(value) => patch({ lateLimitMs: Number(value) })}
                />
              )}
              <Select
                label={words.concurrency}
                data={CONCURRENCIES.map((value) => ({ value, label: CONCURRENCY_LABELS[value] }))}
                value={form.concurrency}
                onChange={(value) => patch({ concurrency: (value ?? "allow") as Concurrency })}
              />
              <Select
                label={words.jitter}
                data={[...JITTERS]}
                value={String(form.jitterMs)}
                onChange={(value) => patch({ jitterMs: Number(value) })}
              />
            </div>
          </Section>
          <Section title={words.what}>
            <div className={classes.job}>
              <JobFields
                form={job}
                shown={shown}
                missing={errors}
                now={false}
                onChange={(change) => {
                  setJob((before) => ({ ...before, ...change }));
                  setErrors({});
                }}
                onSubmit={submit}
              />
            </div>
          </Section>
          <div className={classes.submit}>
            <span className={errors.script ? classes.refused : "dim"} role={errors.script ? "alert" : undefined}>
              {errors.script ?? words.submitHint}
            </span>
            <Button type="submit" size="md" leftSection={<Icon name="plus" />} loading={make.isPending} disabled={why !== undefined} title={why}>
              {words.make}
            </Button>
          </div>
        </div>
        <Firings rule={rule} withPast />
      </form>
    </Page>
  );
}
