import { Tabs } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import type { OperatorTab } from "../../routes";
import { holdsEverywhere } from "../../lib/can";
import { Page } from "../../ui/Page";
import { sessionQuery } from "../session/queries";
import classes from "./Operators.module.css";
import { Roles } from "./Roles";
import { Sites } from "./Sites";
import { Users } from "./Users";
import { words } from "./words";

const route = getRouteApi("/app/operators");

export function OperatorsPage() {
  const search = route.useSearch();
  const navigate = useNavigate();
  const session = useQuery(sessionQuery).data;
  const tabs: readonly OperatorTab[] = holdsEverywhere(session, "users.read") ? ["operators", "roles", "sites"] : ["sites"];
  const tab = tabs.find((each) => each === search.tab) ?? tabs[0] ?? "sites";
  return (
    <Page title={words.title}>
      <Tabs
        value={tab}
        keepMounted={false}
        onChange={(next) =>
          void navigate({
            to: "/operators",
            search: next === tabs[0] ? {} : { tab: next as OperatorTab },
            replace: true,
          })
        }
      >
        <Tabs.List>
          {tabs.map((name) => (
            <Tabs.Tab key={name} value={name}>
              {words.tabs[name]}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="operators" className={classes.panel}>
          <Users />
        </Tabs.Panel>
        <Tabs.Panel value="roles" className={classes.panel}>
          <Roles />
        </Tabs.Panel>
        <Tabs.Panel value="sites" className={classes.panel}>
          <Sites />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
