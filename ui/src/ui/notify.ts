import { notifications } from "@mantine/notifications";

/** Tells the result of the operator's own act. */
export function notify(message: string): void {
  notifications.show({ message, closeButtonProps: { "aria-label": "Close" } });
}
