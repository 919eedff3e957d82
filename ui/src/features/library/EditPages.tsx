import { Button, Checkbox, MultiSelect, Select, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import { VARIABLE_TYPES, type Language, type VariableType } from "../../api/types";
import { TEXT_CHARS } from "../../lib/limits";
import { styleNonce } from "../../lib/nonce";
import { plural } from "../../lib/units";
import { ErrorPanel } from "../../ui/ErrorPanel";
import formClasses from "../../ui/Form.module.css";
import { Icon } from "../../ui/Icon";
import { Loading } from "../../ui/Loading";
import { Page, Section } from "../../ui/Page";
import { LANGUAGE_LABELS, timeoutsWith } from "../jobs/words";
import { sitesQuery } from "../operators/queries";
import {
  emptyAssembly,
  emptyVariable,
  formOf,
  readAssembly,
  type AssemblyErrors,
  type AssemblyForm,
  type VariableForm,
} from "./assemblyForm";
import classes from "./Library.module.css";
import { assemblyQuery, useSaveAssembly } from "./queries";
import { TYPE_LABELS, words } from "./words";

const CodeEditor = lazy(() => import("../../ui/CodeEditor"));
const route = getRouteApi("/app/library/$assembly/edit");

export function NewAssemblyPage() {
  return (
    <Page title={words.makeTitle}>
      <Editor of={null} start={emptyAssembly} />
    </Page>
  );
}

export function EditAssemblyPage() {
  const { assembly } = route.useParams();
  // The form starts from what was newest when it was opened; the server refuses it where that is no longer so.
  const query = useQuery({ ...assemblyQuery(assembly), refetchOnWindowFocus: false });
  const shown = query.data;
  return (
    <Page title={shown ? words.editTitle(shown.content.name) : words.title}>
      {query.isPending ? <Loading rows={8} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedOne, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {shown ? (
        <Editor of={{ assembly, based_on: shown.version.version }} start={formOf(shown.content)} />
      ) : null}
    </Page>
  );
}

function Editor({ of, start }: { of: { assembly: string; based_on: number } | null; start: AssemblyForm }) {
  const navigate = useNavigate();
  const [base] = useState(of);
  const save = useSaveAssembly(base);
  const sites = useQuery(sitesQuery).data ?? [];
  const [form, setForm] = useState(start);
  const [errors, setErrors] = useState<AssemblyErrors>({});
  const patch = (change: Partial<AssemblyForm>): void => {
    setForm((before) => ({ ...before, ...change }));
    setErrors({});
  };
  const open = (assembly: string): void => void navigate({ to: "/library/$assembly", params: { assembly } });

  const submit = (event?: FormEvent): void => {
    event?.preventDefault();
    if (save.isPending) return;
    const read = readAssembly(form);
    if (!("draft" in read)) {
      setErrors(read.errors);
      return;
    }
    save.mutate(read, { onSuccess: (standing) => open(standing.assembly) });
  };

  return (
    <form className={classes.form} onSubmit={submit} noValidate>
      {save.error ? <ErrorPanel error={describe(words.failedSave, save.error)} /> : null}
      <div className={classes.fields}>
        <TextInput
          label={words.name}
          autoComplete="off"
          value={form.name}
          error={errors.name}
          onChange={(event) => patch({ name: event.currentTarget.value })}
        />
        <TextInput
          className={classes.wide}
          label={words.description}
          maxLength={TEXT_CHARS}
          value={form.description}
          onChange={(event) => patch({ description: event.currentTarget.value })}
        />
        <TextInput
          label={words.category}
          autoComplete="off"
          maxLength={64}
          value={form.category}
          onChange={(event) => patch({ category: event.currentTarget.value })}
        />
        <TextInput
          label={words.tags}
          placeholder={words.tagsHint}
          autoComplete="off"
          value={form.tags}
          onChange={(event) => patch({ tags: event.currentTarget.value })}
        />
        <Select
          label={words.language}
          data={Object.entries(LANGUAGE_LABELS).map(([value, label]) => ({ value, label }))}
          value={form.type}
          onChange={(value) => patch({ type: (value ?? "bash") as Language })}
        />
        <Select
          label={words.timeout}
          data={timeoutsWith(form.timeoutMs)}
          value={String(form.timeoutMs)}
          onChange={(value) => patch({ timeoutMs: Number(value) })}
        />
        <MultiSelect
          label={words.sites}
          placeholder={form.sites.length === 0 ? words.allSites : ""}
          data={[...new Set([...sites.map((site) => site.name), ...form.sites])]}
          value={[...form.sites]}
          comboboxProps={{ transitionProps: { duration: 0 } }}
          onChange={(chosen) => patch({ sites: chosen })}
        />
      </div>
      <Variables variables={form.variables} error={errors.variables} onChange={(variables) => patch({ variables })} />
      {form.files.length > 0 ? (
        <p className="dim">{words.filesKept(plural(form.files.length, "file", "files"))}</p>
      ) : null}
      <div className={classes.editor}>
        <Suspense fallback={<Loading rows={4} />}>
          <CodeEditor
            label={words.script}
            value={form.script}
            language={form.type}
            nonce={styleNonce()}
            onChange={(script) => patch({ script })}
            onSubmit={submit}
          />
        </Suspense>
      </div>
      {errors.script ? (
        <p className={classes.bad} role="alert">
          {errors.script}
        </p>
      ) : null}
      <TextInput
        label={words.note}
        description={words.noteHint}
        maxLength={TEXT_CHARS}
        value={form.note}
        onChange={(event) => patch({ note: event.currentTarget.value })}
      />
      <div className={formClasses.buttons}>
        <Button
          variant="default"
          onClick={() => (base ? open(base.assembly) : void navigate({ to: "/library", search: {} }))}
        >
          {words.cancel}
        </Button>
        <Button type="submit" loading={save.isPending}>
          {words.save}
        </Button>
      </div>
    </form>
  );
}

interface VariablesProps {
  variables: readonly VariableForm[];
  error: string | undefined;
  onChange: (variables: VariableForm[]) => void;
}

function Variables({ variables, error, onChange }: VariablesProps) {
  const patch = (key: number, change: Partial<VariableForm>): void =>
    onChange(variables.map((each) => (each.key === key ? { ...each, ...change } : each)));
  const add = (): void => onChange([...variables, emptyVariable(Math.max(0, ...variables.map((each) => each.key)) + 1)]);
  return (
    <Section
      title={words.variables}
      actions={
        <Button size="compact-sm" variant="default" leftSection={<Icon name="plus" />} onClick={add}>
          {words.addVariable}
        </Button>
      }
    >
      {variables.map((each) => (
        <div key={each.key} className={classes.variable} role="group" aria-label={each.name || words.variable}>
          <TextInput
            size="xs"
            label={words.variable}
            autoComplete="off"
            spellCheck={false}
            value={each.name}
            onChange={(event) => patch(each.key, { name: event.currentTarget.value })}
          />
          <Select
            size="xs"
            label={words.type}
            data={VARIABLE_TYPES.map((value) => ({ value, label: TYPE_LABELS[value] }))}
            value={each.type}
            onChange={(value) => patch(each.key, { type: (value ?? "string") as VariableType })}
          />
          <TextInput
            size="xs"
            label={words.default}
            autoComplete="off"
            disabled={each.type === "credential"}
            value={each.type === "credential" ? "" : each.default}
            onChange={(event) => patch(each.key, { default: event.currentTarget.value })}
          />
          <TextInput
            size="xs"
            label={words.choices}
            placeholder={each.type === "choice" ? words.choicesHint : undefined}
            autoComplete="off"
            disabled={each.type !== "choice"}
            value={each.type === "choice" ? each.choices : ""}
            onChange={(event) => patch(each.key, { choices: event.currentTarget.value })}
          />
          <Checkbox
            size="xs"
            className={classes.required}
            label={words.required}
            checked={each.required}
            onChange={(event) => patch(each.key, { required: event.currentTarget.checked })}
          />
          <Button
            size="compact-sm"
            variant="default"
            aria-label={words.removeVariable(each.name)}
            onClick={() => onChange(variables.filter((other) => other.key !== each.key))}
          >
            <Icon name="x" />
          </Button>
        </div>
      ))}
      {error ? (
        <p className={classes.bad} role="alert">
          {error}
        </p>
      ) : null}
    </Section>
  );
}
