import { useQuery } from "@tanstack/react-query";
import { Page } from "../../ui/Page";
import { sessionQuery } from "../session/queries";
import { Sessions } from "./Sessions";
import { Tokens } from "./Tokens";
import { words } from "./words";

export function AccountPage() {
  const session = useQuery(sessionQuery).data;
  return (
    <Page title={words.title} note={session?.username}>
      <Sessions />
      <Tokens />
    </Page>
  );
}
