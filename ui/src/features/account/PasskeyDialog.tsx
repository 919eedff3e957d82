// The dialog that asks what a passkey is called, when it is made and later.

import { Button, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import type { ErrorText } from "../../api/errors";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { words } from "./words";

/** As the server has it. */
const NAME_CHARS = 64;

interface PasskeyDialogProps {
  title: string;
  lead?: string;
  name?: string;
  submit: string;
  busy: boolean;
  error: ErrorText | null;
  onSubmit: (name: string) => void;
  onClose: () => void;
}

export function PasskeyDialog({ title, lead, name = "", submit, busy, error, onSubmit, onClose }: PasskeyDialogProps) {
  const [typed, setTyped] = useState(name);
  const ready = typed.trim() !== "";
  const send = (event: FormEvent): void => {
    event.preventDefault();
    if (ready && !busy) onSubmit(typed.trim());
  };
  return (
    <Dialog title={title} onClose={onClose} closeOnClickOutside={false}>
      <form className={classes.form} onSubmit={send} aria-label={title}>
        {error ? <ErrorPanel error={error} /> : null}
        {lead ? <p>{lead}</p> : null}
        <TextInput
          label={words.passkeyName}
          description={words.passkeyNameHint}
          maxLength={NAME_CHARS}
          data-autofocus
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
        />
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            {words.cancel}
          </Button>
          <Button type="submit" loading={busy} disabled={!ready}>
            {submit}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
