"""Where models run, other than in this process."""
