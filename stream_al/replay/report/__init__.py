"""A replay or a comparison as one HTML page, readable on a screen and in print."""
