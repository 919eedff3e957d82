// On which devices a job would be, each by its name; those that cannot run it come first, with the reason.

import type { AimedDevice } from "../../api/types";
import { markOf, PRESENCE_MARKS } from "../../lib/states";
import { NOTHING } from "../../lib/units";
import { Dialog } from "../../ui/Dialog";
import formClasses from "../../ui/Form.module.css";
import { Grid, type GridColumn } from "../../ui/Grid";
import { StateMark } from "../../ui/StateMark";
import classes from "./Jobs.module.css";
import { words } from "./words";

interface DryRunDialogProps {
  summary: string;
  devices: readonly AimedDevice[];
  total: number;
  onEnd: () => void;
  onClose: () => void;
}

const COLUMNS: readonly GridColumn<AimedDevice>[] = [
  { id: "hostname", header: words.columns.hostname, width: "minmax(110px, 2fr)", cell: (device) => device.hostname || device.guid },
  { id: "site", header: words.site, width: "minmax(70px, 1fr)", cell: (device) => device.site ?? NOTHING },
  {
    id: "presence",
    header: words.presence,
    width: "96px",
    cell: (device) => <StateMark mark={markOf(PRESENCE_MARKS, device.online ? "online" : "offline")} />,
  },
  {
    id: "unable",
    header: words.unableWhy,
    width: "minmax(160px, 7fr)",
    cell: (device) => (device.unable ? <span title={device.unable.reason}>{device.unable.reason}</span> : NOTHING),
  },
];

export function DryRunDialog({ summary, devices, total, onEnd, onClose }: DryRunDialogProps) {
  return (
    <Dialog title={words.dryRunTitle} size="xl" onClose={onClose}>
      <div className={formClasses.form}>
        <p>
          <strong>{summary}</strong> {words.dryRunLead}
        </p>
        <div className={classes.dryRun}>
          <Grid
            label={words.targets}
            columns={COLUMNS}
            rows={devices}
            total={total}
            rowId={(device) => device.guid}
            rowName={(device) => (device.unable ? `${device.hostname}: ${device.unable.reason}` : device.hostname)}
            onEnd={onEnd}
          />
        </div>
      </div>
    </Dialog>
  );
}
