"""The HTTP service: `humanparse serve`. A request walks protocol → app → routes → admission →
workers → answer."""
