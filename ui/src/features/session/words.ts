export const words = {
  title: "Log in",
  lead: "Your password is proved to the server, never sent.",
  ended: "Your session ended. Log in to go on where you were.",
  username: "User name",
  password: "Password",
  submit: "Log in",
  failed: "The log-in failed.",
  noCrypto: "This browser cannot make Ed25519 keys. Use a current Chrome, Edge, Firefox or Safari over HTTPS.",
} as const;
