"""What figures in the docs were measured by: one script a subject, run as python -m benchmarks.NAME."""
