import { CloseButton, Modal } from "@mantine/core";
import type { ReactNode } from "react";
import classes from "./Dialog.module.css";

interface DialogProps {
  title: string;
  size?: "md" | "lg";
  /** False where closing by a stray click would lose something. */
  closeOnClickOutside?: boolean;
  onClose: () => void;
  children: ReactNode;
}

/** A modal dialog. Its head is no page banner, so it is built from the kit's parts. */
export function Dialog({ title, size = "md", closeOnClickOutside = true, onClose, children }: DialogProps) {
  return (
    <Modal.Root opened onClose={onClose} size={size} closeOnClickOutside={closeOnClickOutside}>
      <Modal.Overlay />
      <Modal.Content>
        <div className={classes.head}>
          <Modal.Title className={classes.title}>{title}</Modal.Title>
          <CloseButton aria-label="Close" onClick={onClose} />
        </div>
        <Modal.Body>{children}</Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
