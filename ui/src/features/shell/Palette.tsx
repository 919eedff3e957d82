import "@mantine/spotlight/styles.css";
import "./palette.css";

import { createSpotlight, Spotlight, type SpotlightActionData, type SpotlightActionGroupData } from "@mantine/spotlight";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { pageCan } from "../../lib/can";
import { matches } from "../../lib/fuzzy";
import { markOf, PRESENCE_MARKS } from "../../lib/states";
import { systemOf } from "../../lib/system";
import { Icon } from "../../ui/Icon";
import { everyDeviceQuery } from "../devices/queries";
import { sessionQuery } from "../session/queries";
import { pagesFor } from "./pages";
import { words } from "./words";

const [store, palette] = createSpotlight();
const MOST_DEVICES = 12;
const ACCOUNT = { to: "/account", label: words.account } as const;

export default function Palette({ onClose }: { onClose: () => void }) {
  const navigate = useNavigate();
  const session = useQuery(sessionQuery).data;
  const devices = useQuery({ ...everyDeviceQuery, enabled: pageCan.devices(session) }).data?.items ?? [];
  const [query, setQuery] = useState("");

  useEffect(() => {
    palette.open();
    return () => palette.close();
  }, []);

  const pages: SpotlightActionData[] = [...pagesFor(session), ACCOUNT]
    .map(({ to, label }) => ({ id: to, label, onClick: () => void navigate({ to }) }))
    .filter((each) => matches(each.label, query));
  const found: SpotlightActionData[] = devices
    .filter((device) => matches(`${device.hostname} ${device.site} ${systemOf(device)} ${device.guid}`, query))
    .slice(0, MOST_DEVICES)
    .map((device) => ({
      id: device.guid,
      label: device.hostname,
      description: `${markOf(PRESENCE_MARKS, device.presence).label} · ${device.site} · ${systemOf(device)}`,
      onClick: () => void navigate({ to: "/devices/$guid", params: { guid: device.guid } }),
    }));
  const groups: SpotlightActionGroupData[] = [
    { group: words.palettePages, actions: pages },
    { group: words.paletteDevices, actions: found },
  ].filter((group) => group.actions.length > 0);

  return (
    <Spotlight
      store={store}
      actions={groups}
      query={query}
      onQueryChange={setQuery}
      filter={(_, actions) => actions}
      shortcut={null}
      nothingFound={words.paletteEmpty}
      onSpotlightClose={onClose}
      transitionProps={{ duration: 0 }}
      searchProps={{
        "aria-label": words.paletteSearch,
        placeholder: words.paletteSearch,
        leftSection: <Icon name="search" />,
      }}
      attributes={{ content: { "aria-label": words.palette } }}
      scrollable
      maxHeight={420}
    />
  );
}
