"""The routes that take pictures, what they share, and the forms that they read."""
