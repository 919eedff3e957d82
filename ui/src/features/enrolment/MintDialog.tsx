import { Button, NumberInput, Select, Switch, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import type { MintedCode } from "../../api/types";
import { absolute } from "../../lib/time";
import { CopyButton } from "../../ui/CopyButton";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import shown from "../../ui/Shown.module.css";
import classes from "./Enrolment.module.css";
import { emptyMintForm, installCommands, readMintForm, type MintFormErrors } from "./mintForm";
import { useMintCode } from "./queries";
import { LIFETIMES, words } from "./words";

export function MintDialog({ onClose }: { onClose: () => void }) {
  const mint = useMintCode();
  const [form, setForm] = useState(emptyMintForm);
  const [errors, setErrors] = useState<MintFormErrors>({});
  const minted = mint.data;

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    const read = readMintForm(form);
    setErrors("errors" in read ? read.errors : {});
    if ("request" in read) mint.mutate(read.request);
  };

  return (
    <Dialog
      onClose={onClose}
      title={minted ? words.mintedTitle : words.mintTitle}
      size={minted ? "lg" : "md"}
      closeOnClickOutside={!minted}
    >
      {minted ? (
        <MintedPanel minted={minted} onClose={onClose} />
      ) : (
        <form className={classes.form} onSubmit={submit} noValidate>
          {mint.error ? <ErrorPanel error={describe(words.failedMint, mint.error)} /> : null}
          <TextInput
            label={words.site}
            value={form.site}
            error={errors.site}
            data-autofocus
            onChange={(event) => setForm({ ...form, site: event.currentTarget.value })}
          />
          <div className={classes.pair}>
            <NumberInput
              label={words.uses}
              description={words.usesHint}
              value={form.uses}
              min={1}
              max={10_000}
              allowDecimal={false}
              allowNegative={false}
              error={errors.uses}
              onChange={(uses) => setForm({ ...form, uses })}
            />
            <Select
              label={words.lifetime}
              description={"\u00a0"}
              data={[...LIFETIMES]}
              value={form.lifetime}
              comboboxProps={{ transitionProps: { duration: 0 } }}
              onChange={(lifetime) => setForm({ ...form, lifetime: lifetime ?? form.lifetime })}
            />
          </div>
          <Switch
            label={words.autoApprove}
            description={words.autoApproveHint}
            checked={form.autoApprove}
            onChange={(event) => setForm({ ...form, autoApprove: event.currentTarget.checked })}
          />
          <div className={classes.buttons}>
            <Button variant="default" onClick={onClose}>
              {words.cancel}
            </Button>
            <Button type="submit" loading={mint.isPending}>
              {words.mint}
            </Button>
          </div>
        </form>
      )}
    </Dialog>
  );
}

function MintedPanel({ minted, onClose }: { minted: MintedCode; onClose: () => void }) {
  const commands = installCommands(window.location.origin, minted.code);
  return (
    <div className={classes.form}>
      <p className={classes.once}>{words.once}</p>
      <div>
        <div className={shown.labelRow}>
          <strong>{words.code}</strong>
          <CopyButton text={minted.code} label={words.copyCode} />
        </div>
        <code className={`${shown.code} ${classes.unbroken}`} data-testid="minted-code">
          {minted.code}
        </code>
        <p className="dim">
          {words.site} {minted.site} · {words.uses.toLowerCase()} {minted.uses} · {words.expires.toLowerCase()}{" "}
          {absolute(minted.expires_at)}
        </p>
      </div>
      <div>
        <div className={shown.labelRow}>
          <strong>{words.install}</strong>
          <CopyButton text={commands} label={words.copyInstall} />
        </div>
        <pre className={shown.code}>{commands}</pre>
        <p className="dim">{words.installHint}</p>
      </div>
      <div className={classes.buttons}>
        <Button onClick={onClose}>{words.done}</Button>
      </div>
    </div>
  );
}
