"""HTTP itself: connections, slow clients, hosts, tokens, limits. It knows no photo and no model."""
