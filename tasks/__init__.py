"""What is asked: items, tasks, data sources, embedded sets; and the text measures of collapse."""
