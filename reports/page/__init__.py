"""One self-contained HTML page of a report: its tables and figures, and a browser over every answer of its runs."""
