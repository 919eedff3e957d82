// A selection of devices on its way to the run form: a frozen list. Short ones stand in the URL, long ones in this tab.

import { randomId } from "../../api/encoding";

const IN_URL = 25;
const PREFIX = "borealis-selection-";

export interface RunSearch {
  devices?: string;
  set?: string;
  all?: boolean;
}

export function searchFor(guids: readonly string[]): RunSearch {
  if (guids.length <= IN_URL) return { devices: guids.join(",") };
  const set = randomId().slice(0, 12);
  sessionStorage.setItem(PREFIX + set, guids.join(","));
  return { set };
}

const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function selectionOf(search: RunSearch): string[] {
  const text = search.set ? sessionStorage.getItem(PREFIX + search.set) : search.devices;
  return [...new Set((text ?? "").split(",").filter((guid) => GUID.test(guid)))];
}
