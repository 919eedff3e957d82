// The one-time secret stands after "#", so it never reaches a server log. It is taken out of the address bar at once.

let taken: string | null = null;

export function takeSetupSecret(): string {
  const secret = window.location.hash.slice(1);
  if (secret !== "") {
    taken = secret;
    window.history.replaceState(window.history.state, "", window.location.pathname);
  }
  return taken ?? "";
}

export function forgetSetupSecret(): void {
  taken = null;
}
