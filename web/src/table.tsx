// What tables share: a head with the names of the columns, and a region in which a large one is scrolled.
import type { ComponentChildren, VNode } from "preact";

export function Head({ names }: { names: string[] }): VNode {
  return (
    <tr>
      {names.map((name) => (
        <th scope="col" key={name}>
          {name}
        </th>
      ))}
    </tr>
  );
}

/** What can be scrolled must be reached with the keyboard, and have a name. */
export function Scroll({ label, children }: { label: string; children: ComponentChildren }): VNode {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      {children}
    </div>
  );
}
