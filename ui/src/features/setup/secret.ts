// The one-time secret stands after "#", so it never reaches a server log. It is taken out of the address bar at once.

/** 32 bytes as base64url; a link that was cut short is none. */
const SECRET = /^[A-Za-z0-9_-]{43}$/;

let taken: string | null = null;

export function takeSetupSecret(): string {
  const secret = window.location.hash.slice(1);
  if (secret !== "") {
    taken = SECRET.test(secret) ? secret : null;
    window.history.replaceState(window.history.state, "", window.location.pathname);
  }
  return taken ?? "";
}

export function forgetSetupSecret(): void {
  taken = null;
}
