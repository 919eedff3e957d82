import { Button } from "@mantine/core";
import { absolute } from "../../lib/time";
import classes from "../../ui/Form.module.css";
import { Shown } from "../../ui/Shown";
import type { WithLink } from "./queries";
import { words } from "./words";

/** The link that sets a password: there once, and nowhere else. */
export function LinkPanel({ made, onClose }: { made: WithLink; onClose: () => void }) {
  return (
    <div className={classes.form}>
      <p className={classes.once}>{words.linkOnce}</p>
      <Shown label={words.linkLabel} text={made.link} copy={words.copyLink} testId="operator-link" />
      <p className="dim">
        {words.linkEnds} {absolute(made.user.link_expires_at)}. {words.linkMade}
      </p>
      <div className={classes.buttons}>
        <Button onClick={onClose}>{words.done}</Button>
      </div>
    </div>
  );
}
