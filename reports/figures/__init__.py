"""The figures of a report: each a function from plain data to a matplotlib figure that knows of no file."""
