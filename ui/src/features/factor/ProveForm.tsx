// The form that asks for the password once more, and for a code where there is a second factor.

import { Button, PasswordInput, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { readFactor, type Factor } from "../../api/factor";
import classes from "../../ui/Form.module.css";
import { words } from "./words";

interface ProveFormProps {
  lead: string;
  withCode: boolean;
  busy: boolean;
  onSubmit: (password: string, factor: Factor | null) => Promise<void>;
  onBack: () => void;
  backLabel?: string;
}

export function ProveForm({ lead, withCode, busy, onSubmit, onBack, backLabel = words.back }: ProveFormProps) {
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const factor = readFactor(code);
  const ready = password !== "" && (!withCode || factor !== null);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (ready) void onSubmit(password, withCode ? factor : null);
  };
  return (
    <form className={classes.form} onSubmit={submit} aria-label={words.title}>
      <p>{lead}</p>
      <PasswordInput
        label={words.password}
        name="password"
        autoComplete="current-password"
        data-autofocus
        value={password}
        onChange={(event) => setPassword(event.currentTarget.value)}
      />
      {withCode ? <CodeInput code={code} onChange={setCode} /> : null}
      <div className={classes.buttons}>
        <Button variant="default" onClick={onBack}>
          {backLabel}
        </Button>
        <Button type="submit" loading={busy} disabled={!ready}>
          {words.goOn}
        </Button>
      </div>
    </form>
  );
}

/** The field for a code of the app, or a recovery code. */
export function CodeInput({ code, onChange }: { code: string; onChange: (code: string) => void }) {
  return (
    <TextInput
      label={words.code}
      description={words.codeHint}
      name="code"
      autoComplete="one-time-code"
      spellCheck={false}
      value={code}
      error={code.length >= 6 && !readFactor(code) ? words.codeBad : undefined}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}
