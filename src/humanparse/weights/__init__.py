"""Models: their names, where their files lie, and how they are downloaded."""
