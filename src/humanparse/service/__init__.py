"""The HTTP service, `humanparse serve`. A request passes through http → api → work → child."""
