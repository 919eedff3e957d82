/** Takes only paths of this page, so that a link to the log-in cannot lead elsewhere. */
export function localPath(value: unknown): string | undefined {
  return typeof value === "string" && /^\/(?![/\\])/.test(value) ? value : undefined;
}
