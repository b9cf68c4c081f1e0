"""Back ends: one file each, opened by `harness.models.open_model`."""
