// The login of professionals as they live it: a page's session, the provider, the way back. `real` plays it with a real
// provider under every form of client and signature, `hostile` with one that cheats.

import "./tests/real.mjs";
import "./tests/hostile.mjs";
import "./tests/binding.mjs";
import "./tests/browser.mjs";
