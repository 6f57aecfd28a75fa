"""HTTP itself: connections and patience with clients, hosts, tokens, limits. It knows no photo and
no model."""
