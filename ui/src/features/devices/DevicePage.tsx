import { Button, Tabs } from "@mantine/core";
import { useHotkeys } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { describe } from "../../api/errors";
import type { DeviceDetail } from "../../api/types";
import { refusal } from "../../lib/can";
import { DEVICE_STATUS_MARKS, markOf, PRESENCE_MARKS } from "../../lib/states";
import { systemOf } from "../../lib/system";
import { duration, NOTHING, size } from "../../lib/units";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { Page } from "../../ui/Page";
import { StateMark } from "../../ui/StateMark";
import { sessionQuery } from "../session/queries";
import classes from "./Devices.module.css";
import { DeviceRuns } from "./DeviceRuns";
import { FactList, FactParts } from "./Facts";
import { deviceQuery } from "./queries";
import { StatusActions } from "./StatusActions";
import { Tags } from "./Tags";
import { searchFor } from "./selection";
import { words } from "./words";

const route = getRouteApi("/app/devices/$guid");

export function DevicePage() {
  const { guid } = route.useParams();
  const { tab = "summary" } = route.useSearch();
  const navigate = useNavigate();
  const query = useQuery(deviceQuery(guid));
  const session = useQuery(sessionQuery).data;
  const device = query.data;
  const why = refusal(session, "jobs.run");
  const run = (): void => void navigate({ to: "/run", search: searchFor([guid]) });
  useHotkeys([["r", () => (why ? undefined : run())]]);

  return (
    <Page
      title={device?.hostname ?? guid}
      note={
        device ? (
          <span style={{ display: "inline-flex", gap: 14 }}>
            <StateMark mark={markOf(PRESENCE_MARKS, device.presence)} />
            <StateMark mark={markOf(DEVICE_STATUS_MARKS, device.status)} />
          </span>
        ) : undefined
      }
      actions={
        <>
          {device ? <StatusActions device={device} /> : null}
          <Button
            leftSection={<Icon name="player-play" />}
            disabled={why !== undefined}
            title={why ?? (device && device.presence !== "online" ? words.queuedUntil : undefined)}
            onClick={run}
          >
            {words.run}
          </Button>
        </>
      }
    >
      {query.isPending ? <Loading rows={8} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedOne, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {device ? (
        <Tabs
          value={tab}
          keepMounted={false}
          onChange={(next) =>
            void navigate({
              to: "/devices/$guid",
              params: { guid },
              search: next === "summary" ? {} : { tab: next as typeof tab },
              replace: true,
            })
          }
        >
          <Tabs.List>
            {(["summary", "hardware", "network", "software", "runs"] as const).map((name) => (
              <Tabs.Tab key={name} value={name}>
                {words.tabs[name]}
              </Tabs.Tab>
            ))}
          </Tabs.List>
          <Tabs.Panel value="summary" className={classes.panel}>
            <Summary device={device} />
            <p className="dim">
              {words.factsAge}: <Instant at={device.facts_at} />
            </p>
          </Tabs.Panel>
          <Tabs.Panel value="hardware" className={classes.panel}>
            <FactParts facts={device.facts} names={["summary", "os", "cpu", "memory", "storage"]} />
          </Tabs.Panel>
          <Tabs.Panel value="network" className={classes.panel}>
            <FactParts facts={device.facts} names={["network"]} />
          </Tabs.Panel>
          <Tabs.Panel value="software" className={classes.panel}>
            <FactParts facts={device.facts} names={["software"]} />
          </Tabs.Panel>
          <Tabs.Panel value="runs" className={classes.panel}>
            <DeviceRuns guid={guid} />
          </Tabs.Panel>
        </Tabs>
      ) : null}
    </Page>
  );
}

function Summary({ device }: { device: DeviceDetail }) {
  const text = (value: string | null): string => value ?? NOTHING;
  return (
    <FactList
      rows={[
        ...(device.status_at ? [{ name: words.status, value: <Standing device={device} />, wide: true }] : []),
        { name: words.site, value: device.site },
        { name: words.tags, value: <Tags device={device} /> },
        { name: words.system, value: systemOf(device) },
        { name: words.architecture, value: text(device.arch) },
        { name: words.cpu, value: text(device.cpu) },
        { name: words.memory, value: size(device.memory_bytes) },
        { name: words.uptime, value: duration(device.uptime_ms) },
        { name: words.lastUser, value: text(device.last_user) },
        { name: words.agentVersion, value: text(device.agent_version) },
        { name: words.context, value: text(device.context) },
        { name: words.lastSeen, value: <Instant at={device.last_seen_at} /> },
        { name: words.firstSeen, value: <Instant at={device.first_seen_at} /> },
        { name: words.approved, value: <Instant at={device.approved_at} /> },
        { name: words.addresses, value: (device.addresses ?? []).join(", ") || NOTHING, wide: true },
        { name: words.guid, value: <span className="mono">{device.guid}</span>, wide: true },
        { name: words.fingerprint, value: <span className="mono">{text(device.fingerprint)}</span>, wide: true },
      ]}
    />
  );
}

/** Why the device has its status, who made it so, and when. */
function Standing({ device }: { device: DeviceDetail }) {
  return (
    <>
      <strong>{markOf(DEVICE_STATUS_MARKS, device.status).label}</strong> {words.statusBy(device.status_by)},{" "}
      <Instant at={device.status_at} />
      {device.status_reason ? <div>{device.status_reason}</div> : null}
    </>
  );
}
