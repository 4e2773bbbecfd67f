/** The tabs of the page: one panel, whose contents each of them chooses (WAI-ARIA, tabs pattern, selection follows focus). */

/** Makes `list` choose what `panel` shows, and remembers it in the address as `?tab=`; tells `onChange` of each choice. */
export function followTabs(list: HTMLElement, panel: HTMLElement, onChange: (view: string) => void): void {
  const tabs = [...list.querySelectorAll<HTMLButtonElement>("[role=tab]")];
  const choose = (chosen: HTMLButtonElement) => {
    const view = chosen.value;
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", chosen.id);
    panel.dataset.view = view;
    const address = new URL(location.href);
    if (chosen === tabs[0]) address.searchParams.delete("tab");
    else address.searchParams.set("tab", view);
    history.replaceState(null, "", address);
    onChange(view);
  };
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab));
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target as HTMLButtonElement);
    const to = nextTab(event.key, at, tabs.length);
    const tab = to === undefined ? undefined : tabs[to];
    if (!tab) return;
    event.preventDefault();
    tab.focus();
    choose(tab);
  });
  const wanted = new URLSearchParams(location.search).get("tab");
  choose(tabs.find(({ value }) => value === wanted) ?? tabs[0]!);
}

/** Where a key leads from tab `at` of `count`; `undefined`: it is no key of tabs. */
export function nextTab(key: string, at: number, count: number): number | undefined {
  if (key === "ArrowRight") return (at + 1) % count;
  if (key === "ArrowLeft") return (at - 1 + count) % count;
  if (key === "Home") return 0;
  return key === "End" ? count - 1 : undefined;
}
