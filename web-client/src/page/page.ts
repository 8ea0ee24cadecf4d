import "../elements/colloque-call.ts";
