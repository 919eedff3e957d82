// What a job is, and on which devices: the fields that a job and a schedule share.

import { MultiSelect, SegmentedControl, Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useMemo } from "react";
import type { Language, RunContext } from "../../api/types";
import { jobLimit } from "../../lib/can";
import { styleNonce } from "../../lib/nonce";
import { markOf, PRESENCE_MARKS } from "../../lib/states";
import { count, plural } from "../../lib/units";
import { everyDeviceQuery } from "../devices/queries";
import { sessionQuery } from "../session/queries";
import classes from "./Jobs.module.css";
import { splitTargets, splitText, type JobErrors, type QuickJob } from "./quickJob";
import { EXPIRIES, LANGUAGE_LABELS, TIMEOUTS, words } from "./words";

const CodeEditor = lazy(() => import("../../ui/CodeEditor"));

/** More chosen devices than this are shown as a count. */
const MOST_PILLS = 40;

interface JobFieldsProps {
  form: QuickJob;
  missing: JobErrors;
  /** Says what happens to the targets now; a schedule finds out when it fires. */
  now: boolean;
  onChange: (change: Partial<QuickJob>) => void;
  onSubmit: () => void;
}

export function JobFields({ form, missing, now, onChange, onSubmit }: JobFieldsProps) {
  return (
    <>
      <TargetFields form={form} missing={missing} now={now} onChange={onChange} />
      <div className={classes.options}>
        <Select
          label={words.language}
          data={Object.entries(LANGUAGE_LABELS).map(([value, label]) => ({ value, label }))}
          value={form.language}
          onChange={(value) => onChange({ language: (value ?? "bash") as Language })}
        />
        <Select
          label={words.context}
          data={Object.entries(words.contexts).map(([value, label]) => ({ value, label }))}
          value={form.context}
          onChange={(value) => onChange({ context: (value ?? "SYSTEM") as RunContext })}
        />
        <Select
          label={words.timeout}
          data={[...TIMEOUTS]}
          value={String(form.timeoutMs)}
          onChange={(value) => onChange({ timeoutMs: Number(value) })}
        />
        <Select
          label={words.expires}
          data={[...EXPIRIES]}
          value={String(form.expiresInMs)}
          onChange={(value) => onChange({ expiresInMs: Number(value) })}
        />
      </div>
      <div className={classes.editor} data-bad={missing.script ? true : undefined}>
        <Suspense fallback={<p className="dim">{words.preparing}</p>}>
          <CodeEditor
            label={words.script}
            value={form.script}
            language={form.language}
            nonce={styleNonce()}
            onChange={(script) => onChange({ script })}
            onSubmit={onSubmit}
          />
        </Suspense>
      </div>
    </>
  );
}

function TargetFields({ form, missing, now, onChange }: Omit<JobFieldsProps, "onSubmit">) {
  const session = useQuery(sessionQuery).data;
  const devices = useQuery(everyDeviceQuery);
  const known = devices.data?.items;
  const byGuid = useMemo(() => new Map((known ?? []).map((device) => [device.guid, device])), [known]);
  const targets = form.all ? (known ?? []) : form.guids.flatMap((guid) => byGuid.get(guid) ?? []);
  const targetCount = form.all ? (devices.data?.total ?? 0) : form.guids.length;
  const active = targets.filter((device) => device.status === "active");
  const limit = jobLimit(session, active.map((device) => device.site));
  return (
    <fieldset className={classes.targets}>
      <legend>{words.targets}</legend>
      <SegmentedControl
        size="xs"
        aria-label={words.targets}
        value={form.all ? "all" : "chosen"}
        onChange={(value) => onChange({ all: value === "all" })}
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
          onChange={(guids) => onChange({ guids })}
        />
      )}
      <span className={classes.split} aria-live="polite">
        {now && targetCount > 0 && known ? splitText(splitTargets(targets)) : null}
        {limit !== null && active.length > limit ? ` ${words.overLimit(plural(limit, "device", "devices"), now)}.` : null}
      </span>
    </fieldset>
  );
}
