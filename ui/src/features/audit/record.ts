import type { AuditActor, AuditEntry } from "../../api/types";
import { words } from "./words";

/** Whom a record names, in one word. */
export function who(actor: AuditActor): string {
  if (actor.kind === "anonymous") return words.anonymous;
  if (actor.name) return actor.name;
  if (!actor.id) return actor.kind;
  return actor.kind === "device" ? actor.id : `${actor.kind} ${actor.id}`;
}

/** What finds this actor again. */
export function actorFilter(actor: AuditActor): string {
  return actor.id ?? actor.name ?? actor.kind;
}

export function entryId(entry: AuditEntry): string {
  return `${entry.service}-${entry.position}`;
}
