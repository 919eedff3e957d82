import { Button, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import { canonicalUsername } from "../../api/opaque";
import { USERNAME } from "../../lib/limits";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { LinkPanel } from "./LinkPanel";
import { useInvite } from "./queries";
import { RoleChoice } from "./RoleChoice";
import { words } from "./words";

export function InviteDialog({ onClose }: { onClose: () => void }) {
  const invite = useInvite();
  const [username, setUsername] = useState("");
  const [roles, setRoles] = useState<string[]>([]);
  const [tried, setTried] = useState(false);
  const name = canonicalUsername(username);
  const nameBad = USERNAME.test(name) ? undefined : words.usernameBad;
  const rolesBad = roles.length > 0 ? undefined : words.rolesBad;

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (!nameBad && !rolesBad) invite.mutate({ username: name, roles });
  };

  return (
    <Dialog
      title={invite.data ? words.linkTitle(invite.data.user.username) : words.inviteTitle}
      size={invite.data ? "lg" : "md"}
      closeOnClickOutside={!invite.data}
      onClose={onClose}
    >
      {invite.data ? (
        <LinkPanel made={invite.data} onClose={onClose} />
      ) : (
        <form className={classes.form} onSubmit={submit} noValidate aria-label={words.inviteTitle}>
          {invite.error ? <ErrorPanel error={describe(words.failedInvite, invite.error)} /> : null}
          <TextInput
            label={words.name}
            description={words.inviteHint}
            autoCapitalize="none"
            autoComplete="off"
            spellCheck={false}
            data-autofocus
            value={username}
            error={tried ? nameBad : undefined}
            onChange={(event) => setUsername(event.currentTarget.value)}
          />
          <RoleChoice roles={roles} error={tried ? rolesBad : undefined} onChange={setRoles} />
          <div className={classes.buttons}>
            <Button variant="default" onClick={onClose}>
              {words.cancel}
            </Button>
            <Button type="submit" loading={invite.isPending}>
              {words.invite}
            </Button>
          </div>
        </form>
      )}
    </Dialog>
  );
}
