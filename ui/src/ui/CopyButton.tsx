import { Button } from "@mantine/core";
import { useEffect, useState } from "react";
import { Icon } from "./Icon";

export function CopyButton({ text, label, size = "xs" }: { text: string; label: string; size?: "xs" | "sm" }) {
  const [state, setState] = useState<"idle" | "copied" | "refused">("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), 2_000);
    return () => clearTimeout(timer);
  }, [state]);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setState("copied");
    } catch {
      setState("refused");
    }
  };
  return (
    <Button
      size={size}
      variant="default"
      leftSection={<Icon name={state === "copied" ? "check" : "copy"} size={14} />}
      onClick={() => void copy()}
    >
      <span aria-live="polite">{state === "copied" ? "Copied" : state === "refused" ? "Select and copy" : label}</span>
    </Button>
  );
}
