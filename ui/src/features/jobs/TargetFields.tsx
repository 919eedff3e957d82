// On which devices: chosen ones, those of sites, or all, less some; and what the server says of them, before anything is sent.

import { Button, MultiSelect, SegmentedControl, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { ApiError } from "../../api/errors";
import { jobLimit, refusal, sitesOf } from "../../lib/can";
import { EVERYWHERE } from "../../lib/rights";
import { markOf, PRESENCE_MARKS } from "../../lib/states";
import { count, plural } from "../../lib/units";
import { everyDeviceQuery } from "../devices/queries";
import { sessionQuery } from "../session/queries";
import { DryRunDialog } from "./DryRunDialog";
import classes from "./Jobs.module.css";
import { splitOf, splitText, targetsOf, type Aim, type QuickJob, type Split } from "./quickJob";
import { previewPath, useAim } from "./useAim";
import { words } from "./words";

/** More chosen devices than this are shown as a count. */
const MOST_PILLS = 40;
const SUMMARY_ID = "what-is-meant";

interface TargetFieldsProps {
  form: QuickJob;
  error: string | undefined;
  /** Says what happens to the targets now; a schedule finds out when it fires. */
  now: boolean;
  onChange: (change: Partial<QuickJob>) => void;
}

export function TargetFields({ form, error, now, onChange }: TargetFieldsProps) {
  const session = useQuery(sessionQuery).data;
  const devices = useQuery(everyDeviceQuery);
  const known = useMemo(() => devices.data?.items ?? [], [devices.data]);
  const targets = targetsOf(form);
  const path = targets && refusal(session, "jobs.run") === undefined ? previewPath(targets, form.context, form.kept?.use) : null;
  const aimed = useAim(path);
  const filterError = aimed.error instanceof ApiError && aimed.error.code === "filter_invalid" ? aimed.error.why : undefined;
  const sites = useMemo(
    () => [...new Set([...known.map((device) => device.site), ...sitesOf(session, "jobs.run")])].filter((site) => site !== EVERYWHERE).toSorted(),
    [known, session],
  );
  const choices = useMemo(
    () =>
      known.map((device) => ({
        value: device.guid,
        label: `${device.hostname} (${markOf(PRESENCE_MARKS, device.presence).label.toLowerCase()})`,
      })),
    [known],
  );

  return (
    <fieldset className={classes.targets} aria-describedby={SUMMARY_ID}>
      <legend>{words.targets}</legend>
      <SegmentedControl
        size="xs"
        aria-label={words.targets}
        value={form.aim}
        onChange={(aim) => onChange({ aim: aim as Aim })}
        data={Object.entries(words.aims).map(([value, label]) => ({ value, label }))}
      />
      {form.aim === "chosen" && form.guids.length > MOST_PILLS ? (
        <span>
          <strong>{count(form.guids.length)}</strong> {words.aims.chosen.toLowerCase()}
        </span>
      ) : null}
      {form.aim === "chosen" && form.guids.length <= MOST_PILLS ? (
        <MultiSelect
          {...PICKER}
          className={classes.picker}
          aria-label={words.pick}
          placeholder={form.guids.length === 0 ? words.pickHint : undefined}
          nothingFoundMessage={words.noDevice}
          error={error}
          data={choices}
          value={[...form.guids]}
          onChange={(guids) => onChange({ guids })}
        />
      ) : null}
      {form.aim === "chosen" ? null : (
        <div className={classes.aim}>
          {form.aim === "sites" ? (
            <MultiSelect
              {...PICKER}
              label={words.sites}
              nothingFoundMessage={words.noSite}
              error={error}
              data={sites}
              value={[...form.sites]}
              onChange={(chosen) => onChange({ sites: chosen })}
            />
          ) : null}
          <TextInput
            label={words.filter}
            title={words.filterHelp}
            placeholder={words.filterHint}
            autoComplete="off"
            autoCapitalize="none"
            spellCheck={false}
            value={form.filter}
            error={filterError}
            onChange={(event) => onChange({ filter: event.currentTarget.value })}
          />
          <MultiSelect
            {...PICKER}
            label={words.except}
            nothingFoundMessage={words.noDevice}
            data={choices}
            value={[...form.except]}
            onChange={(except) => onChange({ except })}
          />
        </div>
      )}
      <Meant form={form} aimed={aimed} isAsked={path !== null} now={now} />
    </fieldset>
  );
}

const PICKER = {
  searchable: true,
  clearable: true,
  clearButtonProps: { "aria-label": words.removeAll },
  limit: 50,
  comboboxProps: { transitionProps: { duration: 0 } },
};

interface MeantProps {
  form: QuickJob;
  aimed: ReturnType<typeof useAim>;
  isAsked: boolean;
  now: boolean;
}

/** What is meant, in one line; and all of it, in a dialog. */
function Meant({ form, aimed, isAsked, now }: MeantProps) {
  const session = useQuery(sessionQuery).data;
  const every = useQuery(everyDeviceQuery).data;
  const [isOpen, setOpen] = useState(false);
  const { preview, error } = aimed;
  // More devices than can be asked about one by one are split here, by what the page knows of them.
  const chosen = useMemo(() => {
    if (isAsked || form.aim !== "chosen" || form.guids.length === 0 || !every) return null;
    const named = new Set(form.guids);
    return every.items.filter((device) => named.has(device.guid));
  }, [isAsked, form.aim, form.guids, every]);
  const split: Split | null = preview
    ? { total: preview.devices_total, online: preview.online, unable: preview.unable }
    : chosen
      ? splitOf(chosen)
      : null;
  const limit = jobLimit(session, (chosen ?? aimed.devices).flatMap((device) => device.site ?? []));
  const isOver = preview ? preview.awaiting_approval : chosen !== null && limit !== null && chosen.length > limit;
  const isFilterWrong = error instanceof ApiError && error.code === "filter_invalid";
  return (
    <div className={classes.meant} data-old={aimed.isOld || undefined}>
      <span id={SUMMARY_ID} aria-live="polite" data-testid="meant">
        {split && !error ? (now ? splitText(split) : words.asOfNow(splitText(split))) : null}
        {error && !isFilterWrong ? words.failedTry(error instanceof ApiError ? error.why : error.message) : null}
        {isOver && !error ? ` ${words.overLimit(limit === null ? null : plural(limit, "device", "devices"), now)}` : null}
        {preview?.refused && preview.devices_total > 0 && !error ? (
          <span className={classes.missing}> {words.refused(preview.refused.reason)}</span>
        ) : null}
      </span>
      {preview && !error ? (
        <Button size="compact-sm" variant="default" onClick={() => setOpen(true)}>
          {words.dryRun}
        </Button>
      ) : null}
      {isOpen && preview && split ? (
        <DryRunDialog summary={splitText(split)} devices={aimed.devices} total={split.total} onEnd={aimed.more} onClose={() => setOpen(false)} />
      ) : null}
    </div>
  );
}
