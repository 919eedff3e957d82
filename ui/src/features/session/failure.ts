// What a failed proof of the password reads like.

import { ApiError } from "../../api/errors";
import { WrongPassword } from "../../api/opaque";
import { words } from "./words";

/** The wrong password is found here, an unknown user by the server: both read the same. */
export function asLoginFailure(cause: unknown): unknown {
  if (cause instanceof WrongPassword) return new ApiError("login_failed", cause.message, 401, "never", null);
  if (cause instanceof DOMException && cause.name === "NotSupportedError") return new Error(words.noCrypto);
  return cause;
}
