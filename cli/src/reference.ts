/** The tables of docs/configuration.md, from the flags themselves. */
import { fleetFlags, relayFlags, startFlags, UNFILED } from "./commands.ts";
import { type Flags, variableOf } from "./flags.ts";

/** Every setting, by command, in Markdown. */
export function describeSettings(): string {
  return [
    ["`sluice start`, `sluice doctor`", startFlags],
    ["`sluice transceiver`: these, and", fleetFlags],
    ["`sluice relay` (in the file under `relay`)", relayFlags],
  ]
    .map(([title, flags]) => `### ${title as string}\n\n${table(flags as Flags)}\n`)
    .join("\n");
}

function table(flags: Flags): string {
  const rows = Object.entries(flags).map(([name, { value, help, fallback, many }]) => {
    const variable = variableOf(name);
    const note = [many && "a list", UNFILED.includes(name) && "not in the file"].filter(Boolean).join(", ");
    const cells = [`\`--${name} ${value}\``, `\`${variable}\``, fallback === undefined ? "" : `\`${fallback}\``];
    return `| ${[...cells, `${help}${note && ` (${note})`}`].map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  });
  return ["| flag | variable | default | |", "| --- | --- | --- | --- |", ...rows].join("\n");
}
