#!/bin/sh
# Playwright starts this instead of Chromium: the browser in the network namespace that E2E_NAMESPACE names.
exec ip netns exec "$E2E_NAMESPACE" /usr/bin/chromium "$@"
