import { LitElement, html } from "lit";

export class ColloqueCall extends LitElement {
  override render() {
    return html`<p>Colloque</p>`;
  }
}

customElements.define("colloque-call", ColloqueCall);
