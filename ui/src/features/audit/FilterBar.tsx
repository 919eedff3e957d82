import { Button, Select, TextInput } from "@mantine/core";
import { useHotkeys } from "@mantine/hooks";
import { useRef, useState, type FormEvent } from "react";
import classes from "./Audit.module.css";
import { clean, fromLocalInput, isEmpty, toLocalInput, type AuditFilter } from "./filter";
import { words } from "./words";

const TEXTS = [
  ["actor", words.actor, words.actorHint],
  ["action", words.action, words.actionHint],
  ["object", words.object, words.objectHint],
] as const;

interface FilterBarProps {
  filter: AuditFilter;
  onChange: (filter: AuditFilter) => void;
}

/** Texts are looked for on Enter or when the field is left; what is chosen at once. */
export function FilterBar({ filter, onChange }: FilterBarProps) {
  const [draft, setDraft] = useState(filter);
  const [known, setKnown] = useState(filter);
  // Another filter, from a record or the address bar, fills the fields anew.
  if (known !== filter) {
    setKnown(filter);
    setDraft(filter);
  }
  const first = useRef<HTMLInputElement>(null);
  useHotkeys([["/", () => first.current?.focus()]]);

  const settle = (next: AuditFilter): void => {
    if (JSON.stringify(clean(next)) !== JSON.stringify(clean(filter))) onChange(next);
  };
  const put = (name: keyof AuditFilter, value: string | undefined): AuditFilter => {
    const next = { ...draft, [name]: value };
    setDraft(next);
    return next;
  };
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    settle(draft);
  };
  const outcomes = [
    { value: "", label: words.any },
    { value: "accepted", label: words.accepted },
    { value: "refused", label: words.refused },
  ];
  // A code of a refusal comes from a record.
  const code = filter.outcome && !outcomes.some((each) => each.value === filter.outcome) ? [filter.outcome] : [];

  return (
    <form className={classes.filters} role="search" aria-label={words.filters} onSubmit={submit}>
      {TEXTS.map(([name, label, hint]) => (
        <TextInput
          key={name}
          ref={name === "actor" ? first : undefined}
          size="xs"
          label={label}
          placeholder={hint}
          maxLength={200}
          spellCheck={false}
          autoCapitalize="none"
          autoComplete="off"
          value={draft[name] ?? ""}
          onChange={(event) => put(name, event.currentTarget.value)}
          onBlur={() => settle(draft)}
        />
      ))}
      <Select
        size="xs"
        label={words.outcome}
        data={[...outcomes, ...code.map((value) => ({ value, label: value }))]}
        value={draft.outcome ?? ""}
        comboboxProps={{ transitionProps: { duration: 0 } }}
        onChange={(value) => settle(put("outcome", value || undefined))}
      />
      {(["from", "to"] as const).map((name) => (
        <TextInput
          key={name}
          size="xs"
          type="datetime-local"
          label={words[name]}
          value={toLocalInput(draft[name])}
          onChange={(event) => put(name, fromLocalInput(event.currentTarget.value))}
          onBlur={() => settle(draft)}
        />
      ))}
      {/* Enter in a field sends the form; a form without such a button would not. */}
      <button type="submit" className="visually-hidden" tabIndex={-1} aria-hidden="true" />
      <Button size="xs" variant="default" className={classes.clear} disabled={isEmpty(filter)} onClick={() => onChange({})}>
        {words.clear}
      </Button>
    </form>
  );
}
