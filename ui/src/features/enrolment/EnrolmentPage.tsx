import { Page } from "../../ui/Page";
import { Approvals } from "./Approvals";
import { Codes } from "./Codes";
import { words } from "./words";

export function EnrolmentPage() {
  return (
    <Page title={words.title}>
      <Approvals />
      <Codes />
    </Page>
  );
}
