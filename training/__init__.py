"""Where the SFT-CAI and DPO-CAI checkpoints are made. Imports `harness`, `judges` and `tasks`."""
