import { useQuery } from "@tanstack/react-query";
import { holds } from "../../lib/can";
import { Page } from "../../ui/Page";
import { sessionQuery } from "../session/queries";
import { Approvals } from "./Approvals";
import { Codes } from "./Codes";
import { words } from "./words";

export function EnrolmentPage() {
  const session = useQuery(sessionQuery).data;
  return (
    <Page title={words.title}>
      {holds(session, "approvals.read") ? <Approvals /> : null}
      {holds(session, "codes.read") ? <Codes /> : null}
    </Page>
  );
}
