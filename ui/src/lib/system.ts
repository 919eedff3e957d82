import type { Device } from "../api/types";
import { NOTHING } from "./units";

const FAMILIES: Readonly<Record<string, string>> = { linux: "Linux", windows: "Windows" };

/** A device's system by name and version, else by family. */
export function systemOf(device: Pick<Device, "os" | "os_version">): string {
  return device.os_version || FAMILIES[device.os ?? ""] || device.os || NOTHING;
}
