// The supplier's own page, filled in once its facts are served.
import { html } from "../html.js";
import { Card, Page, Waiting } from "../parts.js";

export function Operator() {
  return html`<${Page} title="Operator"><${Card}><${Waiting} what="The supplier" /><//><//>`;
}
