import { Select, TextInput } from "@mantine/core";
import { useMemo } from "react";
import classes from "./Schedules.module.css";
import { UNITS, type TimingForm, type Unit } from "./scheduleForm";
import { KIND_LABELS, words } from "./words";

interface TimingFieldsProps {
  form: TimingForm;
  error?: string | undefined;
  onChange: (change: Partial<TimingForm>) => void;
}

function allZones(own: string): string[] {
  const all: string[] = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
  return [...new Set(["UTC", own, ...all])];
}

export function TimingFields({ form, error, onChange }: TimingFieldsProps) {
  const zones = useMemo(() => allZones(form.zone), [form.zone]);
  return (
    <div className={classes.fields}>
      <Select
        label={words.follows}
        data={Object.entries(KIND_LABELS).map(([value, label]) => ({ value, label }))}
        value={form.follows}
        maxDropdownHeight={320}
        error={form.follows === "cron" ? undefined : error}
        onChange={(value) => onChange({ follows: (value ?? "cron") as TimingForm["follows"] })}
      />
      {form.follows === "cron" ? (
        <TextInput
          className={classes.wide}
          label={words.cron}
          title={words.cronHint}
          placeholder="0 9 * * MON-FRI"
          autoComplete="off"
          spellCheck={false}
          value={form.cron}
          error={error}
          onChange={(event) => onChange({ cron: event.currentTarget.value })}
        />
      ) : null}
      {form.follows === "every" ? (
        <>
          <TextInput
            label={words.every}
            inputMode="numeric"
            value={form.every}
            error={/^[1-9]\d{0,3}$/.test(form.every.trim()) ? undefined : words.everyBad}
            onChange={(event) => onChange({ every: event.currentTarget.value })}
          />
          <Select
            label={words.unit}
            data={UNITS.map((value) => ({ value, label: words.units[value] }))}
            value={form.unit}
            onChange={(value) => onChange({ unit: (value ?? "days") as Unit })}
          />
        </>
      ) : null}
      <Select
        label={words.zone}
        data={zones}
        value={form.zone}
        searchable
        limit={60}
        nothingFoundMessage={words.noZone}
        onChange={(value) => onChange({ zone: value ?? "UTC" })}
      />
      <TextInput
        label={words.start}
        title={words.startHint}
        type="datetime-local"
        value={form.start}
        onChange={(event) => onChange({ start: event.currentTarget.value })}
      />
      <TextInput
        label={words.end}
        title={words.endHint}
        type="datetime-local"
        value={form.end}
        onChange={(event) => onChange({ end: event.currentTarget.value })}
      />
    </div>
  );
}
