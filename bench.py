"""The door: parses a command line, calls one room, prints. No logic."""
