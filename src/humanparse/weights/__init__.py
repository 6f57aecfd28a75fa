"""Models: what they are called, where their files lie, and what they say of themselves."""
