import { CloseButton, Modal } from "@mantine/core";
import { useEffect, useRef, type ReactNode } from "react";
import classes from "./Dialog.module.css";

interface DialogProps {
  title: string;
  size?: "md" | "lg" | "xl";
  /** False where closing by a stray click would lose something. */
  closeOnClickOutside?: boolean;
  /** Changes when the dialog shows something else under the same title. */
  view?: string;
  onClose: () => void;
  children: ReactNode;
}

const FOCUSABLE = "input, button, textarea, select, a[href]";

/** A modal dialog. Its head is no page banner, so it is built from the kit's parts. */
export function Dialog({ title, size = "md", closeOnClickOutside = true, view = "", onClose, children }: DialogProps) {
  const body = useRef<HTMLDivElement>(null);
  const shown = useRef(title + view);

  // The kit gives the focus back where a dialog is closed, but not where it is taken away.
  useEffect(() => {
    const before = document.activeElement;
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);

  // What had the focus is gone with what was shown before.
  useEffect(() => {
    if (shown.current === title + view) return;
    shown.current = title + view;
    const wanted = body.current?.querySelector<HTMLElement>("[data-autofocus]");
    (wanted ?? body.current?.querySelector<HTMLElement>(FOCUSABLE))?.focus();
  }, [title, view]);

  return (
    <Modal.Root opened onClose={onClose} size={size} closeOnClickOutside={closeOnClickOutside}>
      <Modal.Overlay />
      <Modal.Content>
        <div className={classes.head}>
          <Modal.Title className={classes.title}>{title}</Modal.Title>
          <CloseButton aria-label="Close" onClick={onClose} />
        </div>
        <Modal.Body>
          <div ref={body}>{children}</div>
        </Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
