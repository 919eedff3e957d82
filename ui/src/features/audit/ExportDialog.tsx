import { Button } from "@mantine/core";
import { Dialog } from "../../ui/Dialog";
import classes from "../../ui/Form.module.css";
import { Shown } from "../../ui/Shown";
import { filterOptions, type AuditFilter } from "./filter";
import { words } from "./words";

/** The commands that export what is being looked at. */
export function ExportDialog({ filter, onClose }: { filter: AuditFilter; onClose: () => void }) {
  return (
    <Dialog title={words.exportTitle} size="lg" onClose={onClose}>
      <div className={classes.form}>
        <p>{words.exportLead}</p>
        <Shown
          label={words.exportOnce}
          text={`borealis audit export${filterOptions(filter, false)} --to-file audit.jsonl`}
          copy={words.copyCommand}
          testId="export-command"
        />
        <Shown
          label={words.exportFollow}
          text={`borealis audit follow${filterOptions(filter, true)} --format syslog --to tls://HOST:6514 --cursor-file audit.cursor`}
          copy={words.copyCommand}
        />
        <div className={classes.buttons}>
          <Button variant="default" data-autofocus onClick={onClose}>
            {words.close}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
