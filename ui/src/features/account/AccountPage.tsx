import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Icon } from "../../ui/Icon";
import { Page } from "../../ui/Page";
import { sessionQuery } from "../session/queries";
import { Passkeys } from "./Passkeys";
import { PasswordDialog } from "./PasswordDialog";
import { Sessions } from "./Sessions";
import { Tokens } from "./Tokens";
import { words } from "./words";

export function AccountPage() {
  const session = useQuery(sessionQuery).data;
  const [changing, setChanging] = useState(false);
  const password = (
    <Button variant="default" leftSection={<Icon name="key" />} onClick={() => setChanging(true)}>
      {words.password}
    </Button>
  );
  return (
    <Page title={words.title} note={session?.username} actions={password}>
      <Passkeys />
      <Sessions />
      <Tokens />
      {changing && session ? <PasswordDialog session={session} onClose={() => setChanging(false)} /> : null}
    </Page>
  );
}
