"""A package, so that its fixtures end with it: a browser's event loop must not outlive these
tests."""
