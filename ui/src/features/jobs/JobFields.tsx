// What a job is, and on which devices: the fields that a job and a schedule share.

import { Select } from "@mantine/core";
import { lazy, Suspense } from "react";
import type { AssemblyShown, Language, RunContext } from "../../api/types";
import { styleNonce } from "../../lib/nonce";
import classes from "./Jobs.module.css";
import { KeptScript } from "./KeptScript";
import type { JobErrors, QuickJob } from "./quickJob";
import { TargetFields } from "./TargetFields";
import { BACKOFFS, EXPIRIES, LANGUAGE_LABELS, RETRIES, timeoutsWith, words } from "./words";

const CodeEditor = lazy(() => import("../../ui/CodeEditor"));

interface JobFieldsProps {
  form: QuickJob;
  /** What an assembly holds, where one runs in the place of a typed script. */
  shown?: AssemblyShown | undefined;
  missing: JobErrors;
  /** Says what happens to the targets now; a schedule finds out when it fires. */
  now: boolean;
  onChange: (change: Partial<QuickJob>) => void;
  onSubmit: () => void;
}

export function JobFields({ form, shown, missing, now, onChange, onSubmit }: JobFieldsProps) {
  const { kept } = form;
  return (
    <>
      <TargetFields form={form} error={missing.targets} now={now} onChange={onChange} />
      <div className={classes.options}>
        {kept ? null : (
          <Select
            label={words.language}
            data={Object.entries(LANGUAGE_LABELS).map(([value, label]) => ({ value, label }))}
            value={form.language}
            onChange={(value) => onChange({ language: (value ?? "bash") as Language })}
          />
        )}
        <Select
          label={words.context}
          data={Object.entries(words.contexts).map(([value, label]) => ({ value, label }))}
          value={form.context}
          onChange={(value) => onChange({ context: (value ?? "SYSTEM") as RunContext })}
        />
        <Select
          label={words.timeout}
          data={timeoutsWith(form.timeoutMs)}
          value={String(form.timeoutMs)}
          onChange={(value) => onChange({ timeoutMs: Number(value) })}
        />
        <Select
          label={words.expires}
          data={[...EXPIRIES]}
          value={String(form.expiresInMs)}
          onChange={(value) => onChange({ expiresInMs: Number(value) })}
        />
        <Select
          label={words.retries}
          data={[...RETRIES]}
          value={String(form.retries)}
          onChange={(value) => onChange({ retries: Number(value) })}
        />
        {form.retries > 0 ? (
          <Select
            label={words.backoff}
            title={words.backoffHint}
            data={[...BACKOFFS]}
            value={String(form.backoffMs)}
            onChange={(value) => onChange({ backoffMs: Number(value) })}
          />
        ) : null}
      </div>
      {kept && shown ? (
        <KeptScript
          shown={shown}
          values={kept.values}
          errors={missing.values ?? {}}
          onChange={(values) => onChange({ kept: { ...kept, values } })}
        />
      ) : (
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
      )}
    </>
  );
}
