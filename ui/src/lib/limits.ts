/** The longest reason that the server keeps, in characters. */
export const REASON_CHARS = 400;

/** The longest description, and the longest name of an API token, in characters. */
export const TEXT_CHARS = 400;

/** The largest limit to the devices of a job that a role can have. */
export const MAX_DEVICES = 1_000_000_000;

/** A user name as the server takes it. */
export const USERNAME = /^[a-z0-9][a-z0-9._@-]{0,63}$/;
